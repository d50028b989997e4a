CASES = [("proxmox_get_run", {}, [])]
