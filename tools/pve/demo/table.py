"""The route table: all rows of all modules."""
from tools.pve.demo import access, cluster, guests, nodes, storage, tasklist
from tools.pve.demo.wire import Table

TABLE = Table(row for module in (access, cluster, guests, nodes, storage, tasklist) for row in module.ROUTES)
