// A reader of exported logs that shares no line with Comity: notes, tiles and proofs are those of
// golang.org/x/mod/sumdb, which ships inside the Go toolchain. Only the cosignature's text and the
// C2SP paths (tile/L/N instead of tile/8/L/N) are added here.
//
//	gocheck DIR    prints one line of JSON, or says what is wrong and ends with 1
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type report struct {
	Size    int64    `json:"size"`
	Root    string   `json:"root"`
	Signers []string `json:"signers"`
	Unknown int      `json:"unknown"`
	Quorum  int      `json:"quorum"`
	Tiles   int      `json:"tiles"`
	Proofs  int      `json:"proofs"`
}

func main() {
	found, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gocheck:", err)
		os.Exit(1)
	}
	line, _ := json.Marshal(found)
	fmt.Println(string(line))
}

func check(dir string) (*report, error) {
	found := &report{}
	tree, err := head(dir, found)
	if err != nil {
		return nil, err
	}
	entries, err := entriesOf(dir, tree.N)
	if err != nil {
		return nil, err
	}
	hashes, err := hashesOf(dir, tree, entries)
	if err != nil {
		return nil, err
	}
	if found.Tiles, err = allTiles(dir, tree, hashes, entries); err != nil {
		return nil, err
	}
	found.Proofs, err = proofs(tree, hashes, entries)
	return found, err
}

// cosigner is a C2SP tlog-cosignature verifier (type 4); sumdb/note knows plain Ed25519 only.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	text := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, msg)
	return ed25519.Verify(c.key, []byte(text), sig[8:])
}

func newCosigner(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("vkey is not name+id+key")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 4 {
		return nil, errors.New("witness vkey is not of type 4")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), raw...))
	hash := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return nil, errors.New("witness vkey has another id")
	}
	return cosigner{parts[0], hash, raw[1:]}, nil
}

// policy reads policy.txt: the log's verifier, the witnesses', and how many of them are needed.
func policy(dir string) (log note.Verifier, witnesses []note.Verifier, quorum int, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "policy.txt"))
	if err != nil {
		return nil, nil, 0, err
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		words := strings.Fields(line)
		switch words[0] {
		case "log":
			if log, err = note.NewVerifier(words[1]); err != nil {
				return nil, nil, 0, err
			}
		case "witness":
			witness, err := newCosigner(words[2])
			if err != nil {
				return nil, nil, 0, err
			}
			witnesses = append(witnesses, witness)
		case "group":
			if quorum, err = strconv.Atoi(words[2]); err != nil {
				return nil, nil, 0, err
			}
		}
	}
	if log == nil || quorum == 0 {
		return nil, nil, 0, errors.New("policy.txt names no log or no quorum")
	}
	return log, witnesses, quorum, nil
}

func head(dir string, found *report) (tlog.Tree, error) {
	log, witnesses, quorum, err := policy(dir)
	if err != nil {
		return tlog.Tree{}, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(raw, note.VerifierList(append(witnesses, log)...))
	if err != nil {
		return tlog.Tree{}, err
	}
	signed := map[string]bool{}
	for _, sig := range opened.Sigs {
		signed[sig.Name] = true
	}
	if !signed[log.Name()] {
		return tlog.Tree{}, errors.New("the log's own signature is missing")
	}
	delete(signed, log.Name())
	for name := range signed {
		found.Signers = append(found.Signers, name)
	}
	sort.Strings(found.Signers)
	found.Unknown, found.Quorum = len(opened.UnverifiedSigs), quorum
	if len(signed) < quorum {
		return tlog.Tree{}, fmt.Errorf("%d cosignatures, %d needed", len(signed), quorum)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != log.Name() || lines[3] != "" {
		return tlog.Tree{}, errors.New("the head is not origin, size, root")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	found.Size, found.Root = size, lines[2]
	return tlog.Tree{N: size, Hash: root}, err
}

// place is the C2SP path of a tile, or of the entry bundle beside it.
func place(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}

func entriesOf(dir string, size int64) ([][]byte, error) {
	var entries [][]byte
	for first := int64(0); first < size; first += 1 << height {
		width := min(size-first, 1<<height)
		tile := tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)}
		content, err := os.ReadFile(filepath.Join(dir, place(tile)))
		if err != nil {
			return nil, err
		}
		some, err := bundle(content, int(width))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place(tile), err)
		}
		entries = append(entries, some...)
	}
	return entries, nil
}

func bundle(content []byte, width int) (entries [][]byte, err error) {
	for range width {
		if len(content) < 2 {
			return nil, errors.New("bundle ends early")
		}
		end := 2 + int(binary.BigEndian.Uint16(content))
		if len(content) < end {
			return nil, errors.New("entry runs over the end")
		}
		entries, content = append(entries, content[2:end]), content[end:]
	}
	if len(content) != 0 {
		return nil, errors.New("bytes after the last entry")
	}
	return entries, nil
}

type tiles struct{ dir string }

func (t tiles) Height() int                       { return height }
func (t tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var contents [][]byte
	for _, tile := range wanted {
		content, err := os.ReadFile(filepath.Join(t.dir, place(tile)))
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
	}
	return contents, nil
}

// memory holds every stored hash of the tree, made from the entries alone.
type memory []tlog.Hash

func (m memory) ReadHashes(wanted []int64) (hashes []tlog.Hash, err error) {
	for _, index := range wanted {
		hashes = append(hashes, m[index])
	}
	return hashes, nil
}

// hashesOf hashes the entries to the root, and compares what the tiles give a reader for each.
func hashesOf(dir string, tree tlog.Tree, entries [][]byte) (memory, error) {
	var all memory
	for index, entry := range entries {
		more, err := tlog.StoredHashes(int64(index), entry, all)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	root, err := tlog.TreeHash(tree.N, all)
	if err != nil || root != tree.Hash {
		return nil, fmt.Errorf("the entries give the root %v, the head says %v (%v)", root, tree.Hash, err)
	}
	reader := tlog.TileHashReader(tree, tiles{dir})
	for index := range entries {
		at := tlog.StoredHashIndex(0, int64(index))
		fromTiles, err := reader.ReadHashes([]int64{at})
		if err != nil {
			return nil, fmt.Errorf("tiles, entry %d: %w", index, err)
		}
		if fromTiles[0] != all[at] {
			return nil, fmt.Errorf("tiles give another hash for entry %d", index)
		}
	}
	return all, nil
}

var path = regexp.MustCompile(`^tile/(entries|[0-9]+)/(.*)$`)

// allTiles compares every file below tile/ that the head covers.
func allTiles(dir string, tree tlog.Tree, all memory, entries [][]byte) (count int, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "tile"), func(at string, found fs.DirEntry, err error) error {
		if err != nil || found.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, at)
		parts := path.FindStringSubmatch(filepath.ToSlash(name))
		if parts == nil {
			return fmt.Errorf("%s is no tile", name)
		}
		level := strings.Replace(parts[1], "entries", "data", 1)
		tile, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s/%s", height, level, parts[2]))
		if err != nil {
			return err
		}
		content, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		count++
		if tile.L < 0 {
			some, err := bundle(content, tile.W)
			for i, entry := range some {
				if !bytes.Equal(entry, entries[int(tile.N)<<height+i]) {
					return fmt.Errorf("%s: entry %d differs", name, i)
				}
			}
			return err
		}
		wanted, err := tlog.ReadTileData(tile, all)
		if err == nil && !bytes.Equal(wanted, content) {
			err = fmt.Errorf("%s holds other hashes", name)
		}
		return err
	})
	return count, err
}

// proofs makes and checks an inclusion proof of each entry, and a consistency proof of each size.
func proofs(tree tlog.Tree, all memory, entries [][]byte) (count int, err error) {
	for index, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(index), all)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(entry)); err != nil {
			return 0, err
		}
		old := int64(index + 1)
		older, err := tlog.TreeHash(old, all)
		if err != nil {
			return 0, err
		}
		steps, err := tlog.ProveTree(tree.N, old, all)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(steps, tree.N, tree.Hash, old, older); err != nil {
			return 0, err
		}
		count += 2
	}
	return count, nil
}
