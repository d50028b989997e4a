"""The route table: all rows of all modules."""
from tools.pve.demo import access, change, cluster, guests, nodes, power, storage, tasklist
from tools.pve.demo.wire import Table

TABLE = Table(row for module in (access, change, cluster, guests, nodes, power, storage, tasklist) for row in module.ROUTES)
