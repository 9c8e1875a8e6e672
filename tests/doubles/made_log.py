"""A log with its witnesses in memory, and its static files in a folder, as a ledger or a copy of it has them."""

from cloister.crypto.merkle import root
from cloister.formats.tile import ENTRIES, encode_entry_bundle, tiles_of
from cloister.ledger.log_rules import LogRules
from cloister.ledger.tiles import tile_hashes
from cloister.storage.tile_folder import TileFolder
from cloister.testing.memory_log import MemoryLog


class MadeLog:
    """A log in memory, and its static files in a folder."""

    def __init__(self, folder):
        self.folder = TileFolder(folder)
        self.log = MemoryLog(witnesses=2)
        self.rules = LogRules(self.log.log, self.log.witnesses, 2)

    def grow(self, size, *, at=100):
        for number in range(len(self.log.entries), size):
            self.log.append(b"entry %d" % number)
        leaves = self.log.leaves()

        def subtree(start, end):
            return root(leaves[start:end])

        for tile in tiles_of(size):
            entries = self.log.entries[tile.first : tile.end]
            self.folder.write(
                tile.path, encode_entry_bundle(entries) if tile.level == ENTRIES else tile_hashes(tile, subtree)
            )
        self.folder.write("checkpoint", self.log.checkpoint(at=at))
        return self
