// Judges logs with Go's own packages of the checksum database, golang.org/x/mod/sumdb/{note,tlog}.
//
// Reads questions as JSON, one a line, and answers each with a line: "yes", or "no: " and why.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Kind   string   // note, inclusion, consistency, or tiles
	Note   string   // the checkpoint
	Vkey   string   // the log's verifier key
	Index  int64    // of the entry
	Entry  []byte   // itself
	Path   [][]byte // of the proof
	Old    int64    // the older size
	Root   []byte   // the older root
	Folder string   // of the log's static files
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Println("no: not a question:", err)
			continue
		}
		if err := judge(asked); err != nil {
			fmt.Println("no:", strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Println("yes")
	}
}

func judge(asked question) error {
	tree, err := opened(asked.Note, asked.Vkey)
	if err != nil {
		return err
	}
	switch asked.Kind {
	case "note":
		return nil
	case "inclusion":
		return tlog.CheckRecord(hashes(asked.Path), tree.N, tree.Hash, asked.Index, tlog.RecordHash(asked.Entry))
	case "consistency":
		return tlog.CheckTree(hashes(asked.Path), tree.N, tree.Hash, asked.Old, hash(asked.Root))
	case "tiles":
		return readAll(asked.Folder, tree)
	}
	return fmt.Errorf("no such question: %s", asked.Kind)
}

// opened is the tree that a checkpoint states, once the log's signature on it holds.
func opened(text, vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of %s", lines[0])
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: hash(root)}, nil
}

// readAll reads every entry, through tiles that tlog holds against the tree, and proves each from them.
func readAll(folder string, tree tlog.Tree) error {
	reader := tlog.TileHashReader(tree, files{folder})
	for index := int64(0); index < tree.N; index++ {
		entry, err := read(folder, tree.N, index)
		if err != nil {
			return err
		}
		found, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return err
		}
		if found[0] != tlog.RecordHash(entry) {
			return fmt.Errorf("entry %d is not the one in the tiles", index)
		}
		if index%37 != 0 && index != tree.N-1 {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
			return err
		}
	}
	return nil
}

// read is an entry, out of its bundle.
func read(folder string, size, index int64) ([]byte, error) {
	tile := tlog.Tile{H: 8, L: 0, N: index / 256, W: 256}
	if left := size - tile.N*256; left < 256 {
		tile.W = int(left)
	}
	path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(folder, path))
	for at := int64(0); err == nil; at++ {
		if len(data) < 2 || len(data) < 2+int(data[0])<<8+int(data[1]) {
			return nil, fmt.Errorf("%s is cut short", path)
		}
		length := int(data[0])<<8 + int(data[1])
		if at == index%256 {
			return data[2 : 2+length], nil
		}
		data = data[2+length:]
	}
	return nil, err
}

// files are a log's tiles as tlog reads them; its own paths name the height, which is always 8 in tlog-tiles.
type files struct{ folder string }

func (files) Height() int { return 8 }

func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(f.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (files) SaveTiles([]tlog.Tile, [][]byte) {}

func hashes(path [][]byte) []tlog.Hash {
	var found []tlog.Hash
	for _, node := range path {
		found = append(found, hash(node))
	}
	return found
}

func hash(data []byte) (found tlog.Hash) {
	if copy(found[:], data); !bytes.Equal(found[:], data) {
		panic("a hash has 32 bytes")
	}
	return found
}
