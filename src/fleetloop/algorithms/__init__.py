"""The cartridges: what turns logged experience into updates. One file each."""
