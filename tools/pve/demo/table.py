"""The route table: all rows of all modules."""
from tools.pve.demo import (access, agent, backups, change, cluster, copies, create, disks, firewall, guests, ha, nodes, power,
                            snapshots, storage, tasklist)
from tools.pve.demo.wire import Table

MODULES = (access, agent, backups, change, cluster, copies, create, disks, firewall, guests, ha, nodes, power, snapshots, storage,
           tasklist)
TABLE = Table(row for module in MODULES for row in module.ROUTES)
