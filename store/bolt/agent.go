package bolt

import (
	"encoding/binary"
	"encoding/json"

	"github.com/edition-push/edition"
)

// agent is what is in memory of a device: those that have changed since the
// last fold. Guarded by its shard's lock.
type agent struct {
	proof edition.Proof
	owner edition.Owner
	up    uint32
	seen  int64 // Unix time in milliseconds
	route edition.Route
	gone  bool // a tombstone

	seg     uint32 // as row.seg
	changes uint32 // counts, so that a fold sees that it wrote an old image
	dirty   bool   // must be journaled
	writing bool   // the commit under way holds an image of it
}

func appendAgent(dst []byte, a *agent) []byte {
	if a.gone {
		return append(dst, 0)
	}
	dst = append(append(dst, 1), a.proof[:]...)
	dst = binary.AppendUvarint(dst, uint64(a.owner))
	dst = binary.AppendUvarint(dst, uint64(a.up))
	dst = binary.AppendUvarint(dst, uint64(max(0, a.seen)))
	dst = appendBytes(dst, a.route.Driver)
	return appendBytes(dst, a.route.Target)
}

func readAgent(b []byte) (a *agent, rest []byte, err error) {
	p := reader{b: b}
	a = new(agent)
	if kind := p.take(1); len(kind) == 0 || kind[0] == 0 {
		a.gone = true
	} else {
		copy(a.proof[:], p.take(uint64(len(a.proof))))
		a.owner = edition.Owner(p.uint())
		a.up = uint32(p.uint())
		a.seen = int64(p.uint())
		a.route.Driver = string(p.bytes())
		if t := p.bytes(); len(t) > 0 {
			a.route.Target = append(json.RawMessage(nil), t...)
		}
	}
	if p.bad {
		return nil, nil, errRecord
	}
	return a, p.b, nil
}

// party is a relay below or an upstream above: few, all in memory, and written
// to their table whenever they change.
type party struct {
	name  string
	id    string // of the relay's own store, as it said last
	epoch uint32 // counts the ids: marks of an older one have lapsed
	route edition.Route
	dirty bool // to be written with the next commit
	saved bool // written as it is
}

func appendParty(dst []byte, p *party) []byte {
	dst = appendBytes(dst, p.name)
	dst = appendBytes(dst, p.id)
	dst = binary.AppendUvarint(dst, uint64(p.epoch))
	dst = appendBytes(dst, p.route.Driver)
	return appendBytes(dst, p.route.Target)
}

func readParty(b []byte) (*party, error) {
	p := reader{b: b}
	n := &party{name: string(p.bytes()), id: string(p.bytes()), epoch: uint32(p.uint())}
	n.route.Driver = string(p.bytes())
	if t := p.bytes(); len(t) > 0 {
		n.route.Target = append(json.RawMessage(nil), t...)
	}
	if p.bad {
		return nil, errRecord
	}
	return n, nil
}
