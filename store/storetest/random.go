package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
)

// Instance is a store that Random tests.
type Instance struct {
	Store edition.Store
	// Restart stops the store in good order and opens it again; nil when it
	// does not outlive its process.
	Restart func() edition.Store
	Close   func()
}

// Random makes random calls to a store and to store/mem and compares all that
// they answer. The TTL of the store must be TTL, its clock the one given.
func Random(t *testing.T, open func(t *testing.T, now func() time.Time) Instance) {
	rapid.Check(t, func(r *rapid.T) {
		m := &machine{now: time.UnixMilli(1_700_000_000_000)}
		clock := func() time.Time { return m.now }
		m.model = mem.New(mem.Options{TTL: TTL, Now: clock})
		in := open(t, clock)
		defer in.Close()
		m.store = in.Store
		m.names(t.Context(), r)
		steps := m.steps()
		if in.Restart != nil {
			steps["restart"] = func(*rapid.T) { m.store = in.Restart() }
		}
		r.Repeat(steps)
	})
}

// TTL is how long events live in a store that Random tests.
const TTL = time.Hour

// machine is one run of Random: a store, its model, and what both are told of.
type machine struct {
	now    time.Time
	store  edition.Store
	model  *mem.Store
	keys   []edition.Key
	relays []edition.Owner
}

// names chooses a few keys: devices near each other and far, with three apps.
func (m *machine) names(ctx context.Context, r *rapid.T) {
	for _, first := range []byte{0x00, 0x07, 0x07, 0x80, 0xff} {
		u := edition.UAID{first, byte(len(m.keys)), 2: first, 6: 0x40, 8: 0x80}
		for app := range byte(3) {
			m.keys = append(m.keys, edition.Key{UAID: u, AppID: edition.AppID{app, 6: 0x40, 8: 0x80}})
		}
		m.keys = append(m.keys, edition.Key{UAID: u, AppID: edition.AppID{9, 6: 0x70, 8: 0x80}})
	}
	m.relays = []edition.Owner{edition.Direct}
	for _, name := range []string{"one", "two"} {
		owner, _ := m.model.Relay(ctx, name, "a")
		m.relays = append(m.relays, owner)
		if got, err := m.store.Relay(ctx, name, "a"); got != owner || err != nil {
			r.Fatalf("the number of relay %s is %d, want %d: %v", name, got, owner, err)
		}
	}
}

func (m *machine) key(r *rapid.T) edition.Key { return rapid.SampledFrom(m.keys).Draw(r, "key") }

func (m *machine) app(r *rapid.T) edition.Key {
	return rapid.Custom(m.key).Filter(func(k edition.Key) bool { return !k.AppID.IsSlot() }).Draw(r, "app")
}

func (m *machine) slot(r *rapid.T) edition.Key {
	return rapid.Custom(m.key).Filter(func(k edition.Key) bool { return k.AppID.IsSlot() }).Draw(r, "slot")
}

func (m *machine) owner(r *rapid.T) edition.Owner {
	return rapid.SampledFrom(m.relays).Draw(r, "owner")
}

func (m *machine) upstream(r *rapid.T) string {
	return rapid.SampledFrom([]string{"", "up", "other"}).Draw(r, "upstream")
}

func (m *machine) version(r *rapid.T) edition.Version {
	return edition.Version(rapid.IntRange(0, 9).Draw(r, "version"))
}

func (m *machine) update(r *rapid.T) edition.Update {
	var u edition.Update
	for range rapid.IntRange(1, 4).Draw(r, "events") {
		u = append(u, event(m.key(r), m.version(r)))
	}
	return u.Normalize()
}

// routes draws what a device may register, also nothing.
func (m *machine) routes(r *rapid.T) edition.Routes {
	rs := edition.Routes{}
	for range rapid.IntRange(0, 2).Draw(r, "routes") {
		rs = append(rs, edition.Route{
			Driver:  rapid.SampledFrom([]string{"udp", "fcm"}).Draw(r, "driver"),
			Target:  []byte(rapid.SampledFrom([]string{"1", "2"}).Draw(r, "target")),
			Confirm: rapid.SampledFrom([]string{"", "CODE"}).Draw(r, "confirm"),
		})
	}
	return rs
}

// change draws one of the ways in which routes are changed.
func (m *machine) change(r *rapid.T) func(edition.Routes) edition.Routes {
	rs := m.routes(r)
	return rapid.SampledFrom([]func(edition.Routes) edition.Routes{
		func(edition.Routes) edition.Routes { return nil },
		func(old edition.Routes) edition.Routes { return rs.Over(old) },
		func(old edition.Routes) edition.Routes {
			out, _ := old.Gone(edition.Route{Driver: "udp", Target: []byte("1")})
			return out
		},
		func(old edition.Routes) edition.Routes {
			out, _ := old.Confirmed("CODE")
			return out
		},
	}).Draw(r, "change")
}

// same compares what both say.
func same[T any](r *rapid.T, call func(edition.Store) T, m *machine) {
	r.Helper()
	got, want := fmt.Sprintf("%+v", call(m.store)), fmt.Sprintf("%+v", call(m.model))
	if got != want {
		r.Fatalf("the store says\n%s\nand the model\n%s", got, want)
	}
}

// kind names an error by what the callers of a store can tell apart.
func kind(err error) error {
	for _, k := range []error{nil, edition.ErrUnauthorized, edition.ErrNotFound, edition.ErrGone} {
		if errors.Is(err, k) {
			return k
		}
	}
	return err
}

func (m *machine) steps() map[string]func(*rapid.T) {
	ctx := context.Background()
	return map[string]func(*rapid.T){
		"": func(r *rapid.T) { m.compare(r) },
		"register": func(r *rapid.T) {
			reg := edition.Registration{
				Key: m.app(r), Owner: m.owner(r), Upstream: m.upstream(r),
				Proof: edition.Proof{rapid.SampledFrom([]byte{1, 1, 1, 2}).Draw(r, "proof")},
				Last:  rapid.Bool().Draw(r, "last"),
			}
			if rapid.Bool().Draw(r, "routed") {
				reg.Routes = m.routes(r)
			}
			same(r, func(s edition.Store) error { return kind(s.Register(ctx, reg)) }, m)
		},
		"unregister": func(r *rapid.T) {
			k := m.app(r)
			same(r, func(s edition.Store) error { return kind(s.Unregister(ctx, k)) }, m)
		},
		"bind": func(r *rapid.T) {
			a := edition.Agent{UAID: m.key(r).UAID, Proof: edition.Proof{1}, Owner: m.owner(r), Upstream: m.upstream(r)}
			same(r, func(s edition.Store) error { return kind(s.Bind(ctx, a)) }, m)
		},
		"relay": func(r *rapid.T) {
			name := rapid.SampledFrom([]string{"one", "two"}).Draw(r, "name")
			id := rapid.SampledFrom([]string{"", "a", "b"}).Draw(r, "id")
			same(r, func(s edition.Store) []any {
				owner, err := s.Relay(ctx, name, id)
				return []any{owner, err}
			}, m)
		},
		"route": func(r *rapid.T) {
			h := edition.Holder{Owner: m.owner(r), UAID: m.key(r).UAID}.Party()
			change := m.change(r)
			same(r, func(s edition.Store) error { return kind(s.ChangeRoutes(ctx, h, change)) }, m)
		},
		"deliver": func(r *rapid.T) {
			u := m.update(r)
			how := edition.Delivery{Adopt: rapid.Bool().Draw(r, "adopt"), Make: rapid.IntRange(0, 9).Draw(r, "make") == 0}
			if rapid.IntRange(0, 3).Draw(r, "sender") == 0 {
				how.Upstream = m.upstream(r)
			}
			how.Bodies = m.bodies(r, u)
			same(r, func(s edition.Store) []any {
				rec := s.Deliver(u, how)
				rs, err := rec.Wait(ctx)
				return []any{rs, rec.Fresh, err}
			}, m)
		},
		"send and ack": func(r *rapid.T) {
			u, owner := m.update(r), m.owner(r)
			state := edition.AckState(rapid.IntRange(0, 3).Draw(r, "state"))
			if rapid.Bool().Draw(r, "all") {
				u, _ = scan(m.model, owner, 100)
			}
			if rapid.IntRange(0, 3).Draw(r, "sent") > 0 {
				same(r, func(s edition.Store) error { return s.Sent(owner, u) }, m)
			}
			if rapid.IntRange(0, 3).Draw(r, "acked") > 0 {
				same(r, func(s edition.Store) []any {
					n, err := s.Ack(owner, u, state)
					return []any{n, err}
				}, m)
			}
		},
		"withdraw": func(r *rapid.T) {
			e := event(m.slot(r), rapid.SampledFrom([]edition.Version{3, 9, edition.MaxVersion}).Draw(r, "version"))
			same(r, func(s edition.Store) []any {
				withdrawn, relay, err := s.Withdraw(ctx, e)
				return []any{withdrawn, relay, err}
			}, m)
		},
		"reported": func(r *rapid.T) {
			u := m.update(r)
			same(r, func(s edition.Store) error { return s.Reported(u) }, m)
		},
		"time": func(r *rapid.T) {
			m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Minute, TTL - 1, 2 * TTL}).Draw(r, "passes").Truncate(time.Millisecond))
		},
	}
}

// compare looks at all that both stores say of all keys.
func (m *machine) compare(r *rapid.T) {
	limit := rapid.IntRange(1, 5).Draw(r, "limit")
	for _, k := range m.keys {
		same(r, func(s edition.Store) []any {
			st, err := s.State(k)
			return []any{k, st.State, st.Version, st.Since.UnixMilli(), st.Relayed, kind(err)}
		}, m)
	}
	for i := 0; i < len(m.keys); i += 4 {
		u := m.keys[i].UAID
		same(r, func(s edition.Store) []any {
			a, err := s.Agent(u)
			a.Seen = time.Time{}
			apps, aerr := s.Apps(u)
			routes, rerr := s.Routes(edition.Holder{UAID: u})
			return []any{apps, aerr, a, kind(err), routes, rerr, len(routes) > 0 && !s.Kickable(edition.Holder{UAID: u})}
		}, m)
		for _, owner := range m.relays {
			same(r, func(s edition.Store) []any {
				p, err := s.Pending(nil, owner, u)
				return []any{u, owner, p, err, bodies(s, p)}
			}, m)
		}
	}
	for _, owner := range m.relays {
		same(r, func(s edition.Store) []any {
			all, err := scan(s, owner, limit)
			return []any{owner, all, err}
		}, m)
	}
	for _, up := range []string{"", "up", "other"} {
		same(r, func(s edition.Store) []any {
			all, err := s.Reports(nil, up, edition.Key{}, 100)
			return []any{up, all, err}
		}, m)
	}
	same(r, func(s edition.Store) []any { return due(s, limit) }, m)
}

func due(s edition.Store, limit int) []any {
	var out []edition.Holder
	for after := (edition.Holder{}); ; after = out[len(out)-1] {
		n := len(out)
		var err error
		out, err = s.Due(out, after, limit)
		if err != nil || len(out)-n < limit {
			return []any{slices.Clip(out), err}
		}
	}
}

// bodies gives every slot a message of its device's first app, and some others
// something to carry.
func (m *machine) bodies(r *rapid.T, u edition.Update) []*edition.Body {
	all := make([]*edition.Body, len(u))
	for i, e := range u {
		if e.AppID.IsSlot() && rapid.IntRange(0, 4).Draw(r, "withdraws") == 0 {
			all[i] = &edition.Body{TTL: TTL / 2, Withdrawn: true}
			continue
		}
		if e.AppID.IsSlot() || rapid.IntRange(0, 4).Draw(r, "carries") == 0 {
			all[i] = &edition.Body{
				AppID:   edition.AppID{0, 6: 0x40, 8: 0x80},
				TTL:     rapid.SampledFrom([]time.Duration{0, time.Second, TTL / 2}).Draw(r, "ttl"),
				Urgency: edition.Urgency(rapid.IntRange(0, 3).Draw(r, "urgency")),
				Receipt: rapid.Bool().Draw(r, "receipt"),
				Data:    []byte(e.Version.String()),
			}
		}
	}
	return all
}

// bodies shows what goes with an update.
func bodies(s edition.Store, u edition.Update) []any {
	all, err := s.Bodies(u)
	out := []any{err}
	for _, b := range all {
		if b == nil {
			out = append(out, nil)
		} else {
			out = append(out, *b)
		}
	}
	return out
}
