package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/store/mem"
)

// boardModel drives a board as a connection does, beside a store of one map,
// and checks what a board promises: never two UPDATEs in flight for one UAID,
// nothing forgotten, nothing kept.
type boardModel struct {
	board
	uaids   []edition.UAID
	apps    []edition.AppID
	held    map[edition.UAID]bool
	pending map[edition.Key]edition.Version
	flown   map[*flight]edition.Update // what each UPDATE carried and is not acknowledged
	acked   map[edition.Key]edition.Version
	now     time.Duration
}

func newBoardModel(relay bool, uaids int) *boardModel {
	m := &boardModel{
		board: newBoard(relay), held: map[edition.UAID]bool{},
		pending: map[edition.Key]edition.Version{}, flown: map[*flight]edition.Update{}, acked: map[edition.Key]edition.Version{},
		apps: []edition.AppID{{1}, {2}, {3}},
	}
	for i := range uaids {
		m.uaids = append(m.uaids, edition.UAID{byte(i + 1)})
	}
	return m
}

func (m *boardModel) put(uaid edition.UAID, app edition.AppID) {
	k := edition.Key{UAID: uaid, AppID: app}
	m.pending[k] = max(m.pending[k], m.acked[k]) + 1
	if m.ring(uaid) != (m.relay || m.held[uaid]) {
		panic("ring says something else than hold")
	}
}

// lookup returns what is pending for the UAIDs.
func (m *boardModel) lookup(uaids []edition.UAID) (u edition.Update) {
	for k, v := range m.pending {
		if slices.Contains(uaids, k.UAID) {
			u = append(u, edition.Event{Key: k, Version: v})
		}
	}
	return u.Normalize()
}

// flush sends one UPDATE of at most limit events. between happens while the
// store is read.
func (m *boardModel) flush(limit, window int, between func()) {
	if !m.ready(window) {
		return
	}
	f := m.begin()
	claimed := m.take(nil, f, limit)
	var rest *edition.UAID
	var found edition.Update
	if walk := m.scan; len(claimed) > 0 || !walk.on {
		slices.SortFunc(claimed, edition.UAID.Compare)
		if found = m.lookup(claimed); len(found) > limit {
			rest = &found[limit].UAID
			found = found[:limit]
		}
		between()
	} else {
		m.read()
		all := m.lookup(m.uaids)
		all = slices.DeleteFunc(all, func(e edition.Event) bool { return e.Key.Compare(walk.after) <= 0 })
		found = all[:min(limit, len(all))]
		next := walk.after
		if len(found) > 0 {
			next = found[len(found)-1].Key
		}
		between()
		more := len(found) < len(all)
		found = m.claim(f, slices.Clone(found))
		m.walked(next, more)
	}
	u := slices.Clone(m.launch(f, claimed, found, rest))
	if len(u) == 0 {
		return
	}
	for _, e := range u {
		if e.Version <= m.acked[e.Key] {
			panic(fmt.Sprintf("%v was acknowledged, and is sent again", e))
		}
	}
	for g, other := range m.flown {
		for _, e := range other {
			if slices.ContainsFunc(u, func(o edition.Event) bool { return o.UAID == e.UAID }) {
				panic(fmt.Sprintf("two UPDATEs in flight for one UAID: %d and %d", g.id, f.id))
			}
		}
	}
	f.due = m.now + 10
	m.flown[f] = u
}

// ack acknowledges some of what a flight carried.
func (m *boardModel) ack(f *flight, u edition.Update) {
	n := m.land(slices.Clone(u))
	if n != len(u) {
		panic(fmt.Sprintf("%d of %d landed", n, len(u)))
	}
	for _, e := range u {
		m.acked[e.Key] = max(m.acked[e.Key], e.Version)
		if m.pending[e.Key] == e.Version {
			delete(m.pending, e.Key)
		}
	}
	left := slices.DeleteFunc(m.flown[f], func(e edition.Event) bool { return slices.Contains(u, e) })
	if m.flown[f] = left; len(left) == 0 {
		delete(m.flown, f)
	}
}

func (m *boardModel) lose(uaid edition.UAID) {
	m.drop(uaid)
	delete(m.held, uaid)
	for f, u := range m.flown {
		if m.flown[f] = slices.DeleteFunc(u, func(e edition.Event) bool { return e.UAID == uaid }); len(m.flown[f]) == 0 {
			delete(m.flown, f)
		}
	}
}

// finish lets everything land, and wants nothing left.
func (m *boardModel) finish() error {
	for range 10_000 {
		m.flush(5, 3, func() {})
		for f, u := range m.flown {
			m.ack(f, slices.Clone(u))
		}
		if !m.ready(0) {
			break
		}
	}
	want := 0
	for k := range m.pending {
		if m.relay || m.held[k.UAID] {
			want++
		}
	}
	switch {
	case want > 0:
		return fmt.Errorf("%d events were forgotten", want)
	case len(m.flights) > 0 || len(m.queue) > 0 || m.relay && len(m.many) > 0:
		return fmt.Errorf("%d flights, %d queued, %d entries are left", len(m.flights), len(m.queue), len(m.many))
	case !m.relay && m.count() != len(m.held):
		return fmt.Errorf("%d held, want %d", m.count(), len(m.held))
	}
	return nil
}

func TestBoardModel(t *testing.T) {
	for _, kind := range []struct {
		name   string
		relay  bool
		uaids  int
		window int
	}{{"device", false, 1, 0}, {"devices", false, 6, 0}, {"relay", true, 6, 3}} {
		t.Run(kind.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := newBoardModel(kind.relay, kind.uaids)
				if kind.relay {
					m.rescan()
				}
				uaid := rapid.SampledFrom(m.uaids)
				app := rapid.SampledFrom(m.apps)
				hold := func(t *rapid.T) {
					if u := uaid.Draw(t, "uaid"); !kind.relay {
						m.hold(u)
						m.ring(u)
						m.held[u] = true
					}
				}
				lose := func(t *rapid.T) {
					if !kind.relay {
						m.lose(uaid.Draw(t, "uaid"))
					}
				}
				put := func(t *rapid.T) { m.put(uaid.Draw(t, "uaid"), app.Draw(t, "app")) }
				ack := func(t *rapid.T) {
					flights := slices.SortedFunc(maps.Keys(m.flown), func(a, b *flight) int { return int(a.id) - int(b.id) })
					if len(flights) == 0 {
						return
					}
					f := rapid.SampledFrom(flights).Draw(t, "flight")
					u := m.flown[f]
					n := rapid.IntRange(0, len(u)).Draw(t, "events")
					rand.Shuffle(len(u), func(i, j int) { u[i], u[j] = u[j], u[i] })
					part := slices.Clone(u[:n]).Normalize()
					m.ack(f, part)
				}
				hold(t)
				t.Repeat(map[string]func(*rapid.T){
					"put":  put,
					"hold": hold,
					"lose": lose,
					"flush": func(t *rapid.T) {
						m.flush(rapid.IntRange(1, 7).Draw(t, "limit"), kind.window, func() {
							switch rapid.IntRange(0, 5).Draw(t, "between") {
							case 1:
								put(t)
							case 2:
								lose(t)
							case 3:
								lose(t)
								hold(t)
							case 4:
								ack(t)
							case 5:
								ack(t)
								ack(t)
								put(t)
							}
						})
					},
					"rescan": func(*rapid.T) {
						if kind.relay {
							m.rescan()
						}
					},
					"ack": ack,
					"ack by id": func(t *rapid.T) {
						for f, u := range m.flown {
							if got := m.inFlight(nil, f.id, nil); !slices.Equal(got.Normalize(), slices.Clone(u).Normalize()) {
								t.Fatalf("in flight by id: %v, want %v", got, u)
							}
						}
					},
					"expire": func(*rapid.T) {
						m.now += 11
						m.expire(m.now)
						clear(m.flown)
					},
				})
				if err := m.finish(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// allocs is testing.AllocsPerRun, the least of a few: what goroutines of earlier
// tests allocate while they end counts there as well.
func allocs(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 9 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}

// The common way of one event takes no memory.
func TestBoardAllocations(t *testing.T) {
	b := newBoard(false)
	v := newDevice()
	b.hold(v.UAID)
	uaids, events := make([]edition.UAID, 0, 1), make(edition.Update, 0, 1)
	if n := allocs(1000, func() {
		b.ring(v.UAID)
		f := b.begin()
		uaids = b.take(uaids[:0], f, lookups)
		events = append(events[:0], event(v, 1))
		b.launch(f, uaids, events, nil)
		if b.land(events) != 1 {
			t.Fatal("did not land")
		}
	}); n != 0 {
		t.Errorf("%v allocations for one event, want 0", n)
	}
}

func TestFit(t *testing.T) {
	s := &Server{store: mem.New(mem.Options{})}
	fit := func(u edition.Update) int {
		_, n, err := s.carry(u, true)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var u edition.Update
	for i := range 3000 {
		u = append(u, edition.Event{Key: edition.Key{UAID: edition.UAID{byte(i >> 8), byte(i)}}, Version: edition.MaxVersion})
	}
	for _, n := range []int{0, 1, 600, 601, 640, 1000, 3000} {
		if got := fit(u[:n]); got > n || n <= 600 && got != n || n >= 1000 && got < 600 {
			t.Errorf("of %d fit %d", n, got)
		}
	}
	same := slices.Clone(u)
	for i := range same {
		same[i].UAID = edition.UAID{}
	}
	if got := fit(same); got != 1000 {
		t.Errorf("of one UAID fit %d, want 1000", got)
	}
}
