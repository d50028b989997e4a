"""A big cluster for scale tests: twenty nodes and as many guests as asked for, made in a moment."""
from tools.demo import hardware
from tools.demo.model import GIB, TIB, Guest, Node, Storage, Volume

NODES = 20
_ROLES = ("web", "db", "app", "cache", "mail", "dns", "ci", "git", "mon", "proxy")
_TAGS = ("prod", "test", "dev", "prod;web", "db;prod", "")


def build(world, count):
    """Fill `world` with NODES nodes and `count` guests: three VMs to one container, nine of ten running."""
    t = world.t
    for number in range(1, NODES + 1):
        node = Node("node%02d" % number, number, "10.1.0.%d" % number, cpus=128, memory=2 * TIB,
                    booted=t - 86400 * (9 + number))
        rows, changes = hardware.network(1)
        node.facts.update(network=rows, changes=changes, dns=hardware.DNS["pve1"], disks=hardware.DISKS["pve1"],
                          lvm=hardware.LVM["pve1"], lvmthin=hardware.LVMTHIN["pve1"], zfs=None)
        world.nodes[node.name] = node
    names = list(world.nodes)
    local = Storage("local", "dir", "iso,vztmpl,backup,import,snippets", 94 * GIB, base=9 * GIB, path="/var/lib/vz")
    thin = Storage("local-lvm", "lvmthin", "images,rootdir", 60 * TIB, thinpool="data", vgname="pve")
    nas = Storage("nas", "nfs", "backup,iso,vztmpl", 900 * TIB, shared=True, base=40 * TIB, server="10.1.0.250",
                  path="/mnt/pve/nas", export="/export", **{"prune-backups": "keep-last=3"})
    for storage in (local, thin, nas):
        world.storages[storage.name] = storage
    for number in range(count):
        vmid = 100 + number
        node = names[number % NODES]
        size = 8 << number % 4
        volid = "local-lvm:vm-%d-disk-0" % vmid
        name = "%s%04d" % (_ROLES[number % 10], number)
        conf = {"memory": "2048", "tags": _TAGS[number % 6], "onboot": 1}
        if number % 4 == 3:
            conf.update(hostname=name, memory=1024, swap=512, cores=2, ostype="debian", arch="amd64", unprivileged=1,
                        rootfs="%s,size=%dG" % (volid, size),
                        net0="name=eth0,bridge=vmbr0,hwaddr=BC:24:11:%02X:%02X:%02X,ip=dhcp,"
                        "type=veth" % (number >> 16 & 255, number >> 8 & 255, number & 255))
            kind, content = "lxc", "rootdir"
        else:
            conf.update(name=name, cores=2, sockets=1, boot="order=scsi0;net0", ostype="l26",
                        scsihw="virtio-scsi-single", agent="1", scsi0="%s,size=%dG" % (volid, size),
                        net0="virtio=BC:24:11:%02X:%02X:%02X,bridge=vmbr0"
                        % (number >> 16 & 255, number >> 8 & 255, number & 255))
            kind, content = "qemu", "images"
        world.guests[vmid] = Guest(vmid, kind, node, conf, running=number % 10 != 9,
                                   since=t - 600 - number * 37 % 4000000,
                                   cpu=0.01 + number % 17 / 60.0, mem=0.2 + number % 13 / 20.0,
                                   rate=1000.0 * (number % 29), filled=(2 + number % 5) * GIB)
        thin.at(node)[volid] = Volume(volid, content, size * GIB, vmid=vmid, ctime=int(t) - 864000,
                                      used=(2 + number % 5) * GIB)
    world.sdn.update(zones={"localnetwork": {"zone": "localnetwork", "type": "localnetwork"}}, vnets={})
    world.access.update(users={"root@pam": {"enable": 1, "expire": 0, "tokens": {"demo": {"privsep": 0, "expire": 0}}}},
                        groups={}, roles={}, acl=[])
    world.ha.update(resources={}, rules={})
    world.firewall.update(cluster={"options": {}, "rules": [], "groups": [], "ipset": []})
