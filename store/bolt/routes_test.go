package bolt

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/edition-push/edition"
)

// TestRoutesFilter: whoever was added is never said to have no route, and few
// others are said to have one.
func TestRoutesFilter(t *testing.T) {
	var r routes
	if r.none(edition.NewUAID()) {
		t.Error("an unread table is taken for an empty one")
	}
	r.known.Store(true)
	added := make([]edition.UAID, 30_000) // over three layers
	for i := range added {
		added[i] = edition.NewUAID()
		r.add(added[i])
	}
	for _, u := range added {
		if r.none(u) {
			t.Fatal("a device with a route is said to have none")
		}
	}
	wrong := 0
	for range 10_000 {
		if !r.none(edition.NewUAID()) {
			wrong++
		}
	}
	if wrong > 300 {
		t.Errorf("%d of 10,000 devices without a route may have one", wrong)
	}
	if n := len(r.layers); n != 4 {
		t.Errorf("%d layers", n)
	}
}

// TestRoutesAcrossStarts: routes are found whether they are in memory, in the
// journal or in the table, and after they were changed.
func TestRoutesAcrossStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edition.db")
	route := edition.Route{Driver: "udp", Target: json.RawMessage(`{"port":1}`)}
	with := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	late := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	without := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	for start := range 3 {
		s, stop := run(t, Options{Path: path})
		for deadline := time.Now().Add(10 * time.Second); !s.routed.known.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the table is not read")
			}
		}
		if start == 0 {
			for k, r := range map[edition.Key]*edition.Route{with: &route, late: nil, without: nil} {
				if err := s.Register(t.Context(), edition.Registration{Key: k, Route: r}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.SetRoute(t.Context(), edition.Holder{UAID: late.UAID}, route); err != nil {
				t.Fatal(err)
			}
		}
		for k, want := range map[edition.Key]string{with: "udp", late: "udp", without: ""} {
			if r, err := s.RouteOf(edition.Holder{UAID: k.UAID}); err != nil || r.Driver != want {
				t.Errorf("start %d: route %q, want %q (%v)", start, r.Driver, want, err)
			}
		}
		if !s.routed.none(without.UAID) {
			t.Errorf("start %d: a device without a route is looked up", start)
		}
		stop()
	}
}
