package bolt

import (
	"encoding/binary"
	"encoding/json"

	"github.com/edition-push/edition"
)

// agent is what is in memory of a device: those that have changed since the
// last fold. Guarded by its shard's lock.
type agent struct {
	proof  edition.Proof
	owner  edition.Owner
	up     uint32
	seen   int64 // Unix time in milliseconds
	routes edition.Routes
	gone   bool // a tombstone

	seg     uint32 // as row.seg
	changes uint32 // counts, so that a fold sees that it wrote an old image
	dirty   bool   // must be journaled
	writing bool   // the commit under way holds an image of it
}

func appendAgent(dst []byte, a *agent) []byte {
	if a.gone {
		return append(dst, agentGone)
	}
	dst = append(append(dst, agentRoutes), a.proof[:]...)
	dst = binary.AppendUvarint(dst, uint64(a.owner))
	dst = binary.AppendUvarint(dst, uint64(a.up))
	dst = binary.AppendUvarint(dst, uint64(max(0, a.seen)))
	return appendRoutes(dst, a.routes)
}

// The kinds of devices' records.
const (
	agentGone   = 0
	agentRoute  = 1 // with one route, or an empty one: of file format 1
	agentRoutes = 2
)

func readAgent(b []byte) (a *agent, rest []byte, err error) {
	p := reader{b: b}
	a = new(agent)
	kind := p.take(1)
	switch {
	case len(kind) == 0 || kind[0] > agentRoutes:
		return nil, nil, errRecord
	case kind[0] == agentGone:
		a.gone = true
	default:
		copy(a.proof[:], p.take(uint64(len(a.proof))))
		a.owner = edition.Owner(p.uint())
		a.up = uint32(p.uint())
		a.seen = int64(p.uint())
		if kind[0] == agentRoute {
			a.routes = p.oldRoute()
		} else {
			a.routes = p.routes()
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
	name   string
	id     string // of the relay's own store, as it said last
	epoch  uint32 // counts the ids: marks of an older one have lapsed
	routes edition.Routes
	dirty  bool // to be written with the next commit
	saved  bool // written as it is
}

// appendParty writes an empty route of file format 1 before the routes.
func appendParty(dst []byte, p *party) []byte {
	dst = appendBytes(dst, p.name)
	dst = appendBytes(dst, p.id)
	dst = binary.AppendUvarint(dst, uint64(p.epoch))
	return appendRoutes(append(dst, 0, 0), p.routes)
}

func readParty(b []byte) (*party, error) {
	p := reader{b: b}
	n := &party{name: string(p.bytes()), id: string(p.bytes()), epoch: uint32(p.uint())}
	n.routes = p.oldRoute()
	if len(p.b) > 0 {
		n.routes = p.routes()
	}
	if p.bad {
		return nil, errRecord
	}
	return n, nil
}

func appendRoutes(dst []byte, rs edition.Routes) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rs)))
	for i := range rs {
		dst = appendBytes(dst, rs[i].Driver)
		dst = appendBytes(dst, rs[i].Target)
		dst = appendBytes(dst, rs[i].Confirm)
	}
	return dst
}

func (p *reader) routes() (rs edition.Routes) {
	for n := p.uint(); n > 0 && !p.bad; n-- {
		rs = append(rs, edition.Route{Driver: string(p.bytes()), Target: p.target(), Confirm: string(p.bytes())})
	}
	return rs
}

// oldRoute takes the one route, maybe empty, of file format 1.
func (p *reader) oldRoute() edition.Routes {
	r := edition.Route{Driver: string(p.bytes()), Target: p.target()}
	if r.Driver == "" {
		return nil
	}
	return edition.Routes{r}
}

// target is nil where none was written: the route is gone.
func (p *reader) target() json.RawMessage {
	if b := p.bytes(); len(b) > 0 {
		return append(json.RawMessage(nil), b...)
	}
	return nil
}
