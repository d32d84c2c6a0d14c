package bolt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"

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
		wait(t, "the table to be read", s.routed.known.Load)
		if start == 0 {
			for k, rs := range map[edition.Key]edition.Routes{with: {route}, late: nil, without: nil} {
				if err := s.Register(t.Context(), edition.Registration{Key: k, Routes: rs}); err != nil {
					t.Fatal(err)
				}
			}
			add := func(edition.Routes) edition.Routes { return edition.Routes{route, {Driver: "fcm"}} }
			if err := s.ChangeRoutes(t.Context(), edition.Holder{UAID: late.UAID}, add); err != nil {
				t.Fatal(err)
			}
		}
		for k, want := range map[edition.Key]string{with: "[udp]", late: "[udp fcm]", without: "[]"} {
			rs, err := s.Routes(edition.Holder{UAID: k.UAID})
			if got := drivers(rs); err != nil || got != want {
				t.Errorf("start %d: routes %s, want %s (%v)", start, got, want, err)
			}
			if k == late && rs[1].Target != nil {
				t.Errorf("start %d: a route that is gone has the target %s", start, rs[1].Target)
			}
		}
		if !s.routed.none(without.UAID) {
			t.Errorf("start %d: a device without a route is looked up", start)
		}
		stop()
	}
}

func drivers(rs edition.Routes) string {
	names := make([]string, len(rs))
	for i, r := range rs {
		names[i] = r.Driver
	}
	return fmt.Sprint(names)
}

// Records as file format 1 had them: one route, or none.
func TestRecordsOfFormat1(t *testing.T) {
	proof := edition.Proof{7}
	old := func(driver, target string) []byte {
		b := append([]byte{1}, proof[:]...)
		b = append(b, 3, 2, 9) // owner, upstream, seen
		return appendBytes(appendBytes(b, driver), target)
	}
	for _, tt := range []struct{ driver, target, want string }{
		{"udp", `{"port":1}`, "[udp]"},
		{"", "", "[]"},
	} {
		behind := []byte("what follows in a journal")
		a, rest, err := readAgent(append(old(tt.driver, tt.target), behind...))
		if err != nil || string(rest) != string(behind) {
			t.Fatalf("%s: %v, rest %q", tt.driver, err, rest)
		}
		if a.proof != proof || a.owner != 3 || a.up != 2 || a.seen != 9 || drivers(a.routes) != tt.want {
			t.Errorf("agent %+v", a)
		}
		if len(a.routes) > 0 && (string(a.routes[0].Target) != tt.target || !a.routes[0].Usable()) {
			t.Errorf("route %+v", a.routes[0])
		}
		p, err := readParty(append([]byte{4, 'n', 'a', 'm', 'e', 2, 'i', 'd', 5}, old(tt.driver, tt.target)[36:]...))
		if err != nil || p.name != "name" || p.id != "id" || p.epoch != 5 || drivers(p.routes) != tt.want {
			t.Errorf("party %+v, %v", p, err)
		}
	}
	if _, _, err := readAgent([]byte{3}); err == nil {
		t.Error("a record of a kind to come is read")
	}
}

// A file of format 1 is opened, and says then that older programs cannot read
// it.
func TestFileOfFormat1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edition.db")
	k := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}
	if err := Bulk(path, 1, func(int) (edition.Agent, edition.Key, edition.Version) { return edition.Agent{}, k, 5 }); err != nil {
		t.Fatal(err)
	}
	mark := func(write bool) (m []byte) {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.Update(func(tx *bbolt.Tx) error {
			if write {
				old := append(make([]byte, headSize), agentRoute)
				old = append(append(old, make([]byte, 32)...), 0, 0, 9) // proof, owner, upstream, seen
				old = append(old, "\x03udp\x011"...)
				if err := tx.Bucket(tableAgents).Put(k.UAID[:], seal(k.UAID[:], old)); err != nil {
					return err
				}
				if err := tx.DeleteBucket(tableBodies); err != nil {
					return err
				}
				return tx.Bucket(tableMeta).Put(keyFormat, seal(keyFormat, make([]byte, headSize)))
			}
			m = bytes.Clone(tx.Bucket(tableMeta).Get(keyFormat))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	mark(true)
	s, stop := run(t, Options{Path: path})
	if rs, err := s.Routes(edition.Holder{UAID: k.UAID}); err != nil || drivers(rs) != "[udp]" {
		t.Errorf("routes %q, %v", rs, err)
	}
	if u, err := s.Pending(nil, edition.Direct, k.UAID); err != nil || len(u) != 1 {
		t.Errorf("pending %v, %v", u, err)
	}
	stop()
	if m := mark(false); m[4] != fileFormat {
		t.Errorf("the file is marked as format %d", m[4])
	}
	_, stop = run(t, Options{Path: path})
	stop()
}
