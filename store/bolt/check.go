package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"
)

// bbolt trusts its file: on a truncated one it dies of SIGBUS, on a damaged
// one it panics in a goroutine of its own, and an empty one it takes for new.
// So the file is checked whole before bbolt sees it: meta pages, length, every
// page that is in use, the order of keys, and the checksum of every record.

// bbolt's file format (its internal/common), in the machine's byte order: a
// page has a 16-byte header: id 8, flags 2, count 2, overflow 4.
const (
	pageHeader = 16
	flagBranch = 0x01
	flagLeaf   = 0x02
	elemSize   = 16 // branch: pos 4, ksize 4, pgid 8; leaf: flags 4, pos 4, ksize 4, vsize 4
	elemBucket = 0x01
	metaSize   = 64
	magic      = 0xED0CDAED
	bboltV     = 2
	bucketSize = 16 // root page 8, sequence 8
)

var native = binary.NativeEndian

// metaPage is a bbolt meta page.
type metaPage struct {
	pageSize uint32
	root     uint64
	pages    uint64 // the number of the first page never used
	txid     uint64
}

// readMeta reads the page that begins at b.
func readMeta(b []byte) (m metaPage, ok bool) {
	if len(b) < pageHeader+metaSize {
		return m, false
	}
	b = b[pageHeader : pageHeader+metaSize]
	h := fnv.New64a()
	h.Write(b[:metaSize-8])
	if native.Uint32(b) != magic || native.Uint32(b[4:]) != bboltV || native.Uint64(b[metaSize-8:]) != h.Sum64() {
		return m, false
	}
	return metaPage{
		pageSize: native.Uint32(b[8:]), root: native.Uint64(b[16:]), pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:]),
	}, true
}

// findMeta returns the newest valid meta page of a file.
func findMeta(f *os.File) (best metaPage, err error) {
	found := false
	try := func(at int64) {
		var b [pageHeader + metaSize]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return
		}
		if m, ok := readMeta(b[:]); ok && (at == 0 || at == int64(m.pageSize)) && (!found || m.txid > best.txid) {
			best, found = m, true
		}
	}
	try(0)
	for at := int64(1024); at <= 1<<24; at *= 2 {
		try(at)
	}
	if !found || best.pageSize < 1024 || best.pageSize > 1<<24 || best.pageSize&(best.pageSize-1) != 0 {
		return best, errors.New("neither of its meta pages is whole, or it is not a data file of this program")
	}
	return best, nil
}

// check looks through a whole file and says what is wrong with it.
func check(f *os.File) (err error) {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size == 0 {
		return errors.New("it is empty")
	}
	m, err := findMeta(f)
	if err != nil {
		return err
	}
	need := int64(m.pages) * int64(m.pageSize)
	switch {
	case m.pages < 3 || m.pages > 1<<40 || size < need:
		return fmt.Errorf("it is cut short: %d bytes of at least %d", size, need)
	case size%int64(m.pageSize) != 0:
		return fmt.Errorf("its length, %d bytes, is not a multiple of its page size, %d", size, m.pageSize)
	}
	data, unmap, err := mapFile(f, int(need))
	if err != nil {
		return err
	}
	defer unmap()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be read: %v", r)
		}
	}()
	c := &checker{data: data, pageSize: uint64(m.pageSize), pages: m.pages, seen: make([]uint64, (m.pages+63)/64)}
	return c.file(m.root)
}

// checker walks the pages of a file.
type checker struct {
	data     []byte
	pageSize uint64
	pages    uint64
	seen     []uint64 // a bit a page
}

// file checks the tables: first whether they are ours.
func (c *checker) file(root uint64) error {
	type table struct{ name, head []byte }
	var all []table
	err := c.tree(root, nil, nil, func(flags uint32, key, value []byte) error {
		if flags&elemBucket == 0 {
			return errForeign
		}
		all = append(all, table{key, value})
		return nil
	})
	if err != nil {
		return err
	}
	marked := false
	for _, t := range all {
		if string(t.name) == string(tableMeta) {
			err := c.bucket(t.head, func(_ uint32, key, value []byte) error {
				if string(key) != string(keyFormat) {
					return nil
				}
				marked = true
				return checkMark(value)
			})
			if err != nil {
				return err
			}
		}
	}
	if !marked {
		return errForeign
	}
	for _, t := range all {
		if string(t.name) == string(tableMeta) {
			continue
		}
		err := c.bucket(t.head, func(flags uint32, key, value []byte) error {
			if flags&elemBucket != 0 {
				return errForeign
			}
			_, err := unseal(key, value)
			return err
		})
		if err != nil {
			return fmt.Errorf("in %q: %w", t.name, err)
		}
	}
	return nil
}

// item is told of each element of a leaf.
type item func(flags uint32, key, value []byte) error

// bucket checks the pages of a bucket, which may be inline in its head.
func (c *checker) bucket(head []byte, each item) error {
	if len(head) < bucketSize {
		return errors.New("a bucket's head is too short")
	}
	if root := native.Uint64(head); root != 0 {
		return c.tree(root, nil, nil, each)
	}
	page := head[bucketSize:]
	if len(page) < pageHeader || native.Uint16(page[8:]) != flagLeaf {
		return errors.New("an inline bucket has no page")
	}
	return leaf(page, nil, nil, each)
}

// tree checks the pages below one. Its keys are at or above lo and below hi.
func (c *checker) tree(id uint64, lo, hi []byte, each item) error {
	page, err := c.page(id)
	if err != nil {
		return err
	}
	switch native.Uint16(page[8:]) {
	case flagLeaf:
		err = leaf(page, lo, hi, each)
	case flagBranch:
		err = c.branch(page, lo, hi, each)
	default:
		err = errors.New("neither a branch nor a leaf")
	}
	if err != nil && errors.Unwrap(err) == nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return err
}

// page returns a page with its overflow, and marks it as seen.
func (c *checker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.pages {
		return nil, fmt.Errorf("a reference to page %d of %d", id, c.pages)
	}
	at := id * c.pageSize
	p := c.data[at : at+c.pageSize]
	n := uint64(native.Uint32(p[12:])) + 1
	if native.Uint64(p) != id || id+n > c.pages {
		return nil, fmt.Errorf("page %d is not what it should be", id)
	}
	for i := id; i < id+n; i++ {
		if c.seen[i/64]&(1<<(i%64)) != 0 {
			return nil, fmt.Errorf("page %d is referred to twice", i)
		}
		c.seen[i/64] |= 1 << (i % 64)
	}
	return c.data[at : at+n*c.pageSize], nil
}

// elem returns where the elements of a page are, and the bytes that one of
// them refers to. The position counts from the element itself.
func elem(page []byte, i int) []byte {
	at := pageHeader + i*elemSize
	if at+elemSize > len(page) {
		return nil
	}
	return page[at:]
}

func span2(b []byte, pos, n, m uint32) (key, value []byte, ok bool) {
	end := uint64(pos) + uint64(n) + uint64(m)
	if pos < elemSize || end > uint64(len(b)) || n == 0 {
		return nil, nil, false
	}
	return b[pos : pos+n : pos+n], b[pos+n : end : end], true
}

var errElement = errors.New("an element lies outside of its page")

func (c *checker) branch(page []byte, lo, hi []byte, each item) error {
	count := int(native.Uint16(page[10:]))
	if count == 0 {
		return errors.New("an empty branch")
	}
	key := func(i int) ([]byte, uint64, error) {
		e := elem(page, i)
		if e == nil {
			return nil, 0, errElement
		}
		k, _, ok := span2(e, native.Uint32(e), native.Uint32(e[4:]), 0)
		if !ok {
			return nil, 0, errElement
		}
		return k, native.Uint64(e[8:]), nil
	}
	k, id, err := key(0)
	if err != nil {
		return err
	}
	if err := ordered(lo, k, hi, true); err != nil {
		return err
	}
	for i := range count {
		end, next := hi, uint64(0)
		if i+1 < count {
			if end, next, err = key(i + 1); err != nil {
				return err
			}
			if err := ordered(k, end, hi, false); err != nil {
				return err
			}
		}
		if err := c.tree(id, k, end, each); err != nil {
			return err
		}
		k, id = end, next
	}
	return nil
}

func leaf(page []byte, lo, hi []byte, each item) error {
	may := true
	for i := range int(native.Uint16(page[10:])) {
		e := elem(page, i)
		if e == nil {
			return errElement
		}
		k, v, ok := span2(e, native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:]))
		if !ok {
			return errElement
		}
		if err := ordered(lo, k, hi, may); err != nil {
			return err
		}
		if err := each(native.Uint32(e), k, v); err != nil {
			return err
		}
		lo, may = k, false
	}
	return nil
}

// ordered checks that a key is above lo, or equal to it if it may be, and
// below hi.
func ordered(lo, k, hi []byte, mayEqual bool) error {
	if lo != nil && (string(k) < string(lo) || !mayEqual && string(k) == string(lo)) || hi != nil && string(k) >= string(hi) {
		return errors.New("its keys are not in order")
	}
	return nil
}
