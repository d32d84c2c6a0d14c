package serve

import (
	"errors"
	"strings"
	"testing"

	"github.com/edition-push/edition/configs"
)

// TestListsAreReloaded says who differs, takes up all of it, and nothing before
// it is used.
func TestListsAreReloaded(t *testing.T) {
	peer := func(name, token string) configs.Peer { return configs.Peer{Name: name, Token: configs.Secret(token)} }
	var fresh, used []configs.Peer
	var fault error
	read := reloadList(named[configs.Peer]{
		key:  "relays",
		name: func(p configs.Peer) string { return p.Name },
		read: func(Fresh) ([]configs.Peer, error) { return fresh, fault },
		use:  func(list []configs.Peer) { used = list },
	}, []configs.Peer{peer("a", "one"), peer("b", "two")})
	for _, c := range []struct {
		list []configs.Peer
		want string // nothing: no change
	}{
		{[]configs.Peer{peer("a", "one"), peer("b", "two")}, ""},
		{[]configs.Peer{peer("b", "two"), peer("a", "one")}, "relays: another order"},
		{[]configs.Peer{peer("b", "two\nthree"), peer("a", "one")}, "relays: b"},
		{[]configs.Peer{peer("c", "four"), peer("b", "two\nthree")}, "relays: c added, relays: a removed"},
		{[]configs.Peer{peer("c", "four"), peer("b", "two\nthree")}, ""},
	} {
		fresh, used = c.list, nil
		for range 2 { // reading changes nothing
			change, err := read(Fresh{})
			if got := strings.Join(change.What, ", "); err != nil || got != c.want || (change.Use == nil) != (c.want == "") {
				t.Errorf("%v: %q, %v, want %q", c.list, got, err, c.want)
			}
			if used != nil {
				t.Fatal("it is used by being read")
			}
		}
		if change, _ := read(Fresh{}); change.Use != nil {
			change.Use()
			if len(used) != len(c.list) {
				t.Errorf("used: %v", used)
			}
		}
	}
	fault = errors.New("a fault")
	if change, err := read(Fresh{}); !errors.Is(err, fault) || change.Use != nil {
		t.Errorf("got %+v, %v", change, err)
	}
}
