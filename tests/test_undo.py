"""The way back: what is noted of each change, what undo sends, and when it refuses."""
CASES = [("proxmox_undo", {}, [])]
