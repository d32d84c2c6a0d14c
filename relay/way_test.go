package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/edition-push/edition/client"
	"github.com/edition-push/edition/wire"
)

func TestWay(t *testing.T) {
	one, two := newFake(t), newFake(t)
	one.way, two.way = []string{"b", "a"}, []string{"c", "a"}
	g := newRig(t, nil, one, two)
	if got, want := g.Way(), []string{g.store.ID(), "b", "a", "c"}; !slices.Equal(got, want) {
		t.Errorf("way %v, want %v", got, want)
	}
}

// An upstream that is above itself is not connected to, and says why.
func TestLoop(t *testing.T) {
	g := newRig(t, nil, newFake(t))
	g.below = func(id string) bool { return id == "child" }
	u := g.ups[0]
	deep := make([]string, wire.MaxWay+1)
	for i := range deep {
		deep[i] = fmt.Sprint(i)
	}
	for _, way := range [][]string{{"x", g.store.ID()}, {"child"}, deep} {
		if err := u.noteWay(way); err == nil {
			t.Errorf("a way over %v is taken", way)
		}
	}
	if err := u.noteWay(deep[:wire.MaxWay]); err != nil {
		t.Error(err)
	}
}

func TestLoopIsShown(t *testing.T) {
	up := newFake(t)
	g := newRig(t, nil, up)
	up.mu.Lock()
	up.way = []string{"x", g.store.ID()}
	up.mu.Unlock()
	up.cut()
	eventually(t, "the reason", func() bool { return strings.Contains(g.Upstreams()[0].Error, "form a loop") })
	if err := g.ups[0].client.State().Err; client.ReasonOf(err) != client.ReasonLoop {
		t.Error(err)
	}
}
