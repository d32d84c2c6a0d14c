package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/edition-push/edition"
)

// Every value in a table or in the journal is a CRC-32C, little-endian, over
// its key and what follows; a format byte; and a body. Only the mark of the
// file has another byte there, see fileFormat.
const (
	format   = 1
	headSize = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("a record does not match its checksum or format")

// seal fills in the head of a value whose body begins at headSize.
func seal(key, value []byte) []byte {
	value[4] = format
	binary.LittleEndian.PutUint32(value, checksum(key, value))
	return value
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, value[4:])
}

// unseal checks a value and returns its body.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < headSize || value[4] != format || binary.LittleEndian.Uint32(value) != checksum(key, value) {
		return nil, fmt.Errorf("%w (key %.12x…)", errRecord, key)
	}
	return value[headSize:], nil
}

const keySize = 32

// appendKey appends the key's bytes, whose order is the order of keys.
func appendKey(dst []byte, k edition.Key) []byte {
	return append(append(dst, k.UAID[:]...), k.AppID[:]...)
}

func keyOf(b []byte) (k edition.Key) {
	copy(k.UAID[:], b)
	copy(k.AppID[:], b[16:])
	return k
}

// appendRow appends a row's body: with which flags, and what goes with them.
// epoch is the owner's, and is written beside marks.
func appendRow(dst []byte, r *row, which flags, epoch uint32) []byte {
	f := r.flags & which
	dst = binary.AppendUvarint(dst, uint64(f))
	if f&isLive == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(r.owner))
	dst = binary.AppendUvarint(dst, uint64(r.up))
	dst = binary.AppendUvarint(dst, uint64(max(0, r.since)))
	if f&(isPending|isKeptOn) != 0 {
		dst = binary.AppendUvarint(dst, uint64(max(0, r.expires-r.since)))
	}
	if f&(isPending|isExpired) != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.version))
	}
	if f&hasHigh != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.high))
	}
	if f&(hasSent|isHeld) != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.sent))
		dst = binary.AppendUvarint(dst, uint64(epoch))
	}
	return dst
}

// readRow reads a row's body and returns what follows it.
func readRow(b []byte) (r row, epoch uint32, rest []byte, err error) {
	p := reader{b: b}
	r.flags = flags(p.uint())
	if r.flags&^inTable != 0 {
		return r, 0, nil, errRecord
	}
	if r.is(isLive) {
		r.owner = edition.Owner(p.uint())
		r.up = uint32(p.uint())
		r.since = int64(p.uint())
		if r.is(isPending | isKeptOn) {
			r.expires = r.since + int64(p.uint())
		}
		if r.is(isPending) {
			r.set(isKept)
		}
		if r.is(isPending | isExpired) {
			r.version = edition.Version(p.uint())
		}
		if r.is(hasHigh) {
			r.high = edition.Version(p.uint())
		}
		if r.is(hasSent | isHeld) {
			r.sent = edition.Version(p.uint())
			epoch = uint32(p.uint())
		}
	}
	if p.bad {
		return r, 0, nil, errRecord
	}
	return r, epoch, p.b, nil
}

// reader takes values off a body; after one that is not there it is bad.
type reader struct {
	b   []byte
	bad bool
}

func (p *reader) uint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *reader) take(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.bad, p.b = true, nil
		return nil
	}
	b := p.b[:n]
	p.b = p.b[n:]
	return b
}

// bytes takes a length and as many bytes.
func (p *reader) bytes() []byte { return p.take(p.uint()) }

func appendBytes[T ~string | ~[]byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
