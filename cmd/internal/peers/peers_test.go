package peers

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// kick sends a kick to a peer by its own driver, entry and target, until its
// outcome is right: a driver has a time limit that a slow machine may miss.
func kick(t *testing.T, p *Peer, right func(error) bool) (err error) {
	t.Helper()
	for start := time.Now(); time.Since(start) < patience; {
		if err = kickOnce(t, p); right(err) {
			break
		}
	}
	return err
}

func kickOnce(t *testing.T, p *Peer) error {
	t.Helper()
	entries, err := kickdrivers.Decode([]map[string]any{p.Entry})
	if err != nil {
		t.Fatalf("the entry is at fault: %v", err)
	}
	d, err := entries[0].Open(driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	asked, err := json.Marshal(p.Target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	target, err := check(ctx, d, asked)
	if err != nil {
		t.Fatalf("the target is refused: %v", err)
	}
	var errs [1]error
	d.Kick(ctx, []driver.Kick{{Target: target}}, errs[:])
	return errs[0]
}

// check waits for drivers that first have to learn what they may reach.
func check(ctx context.Context, d driver.Driver, asked json.RawMessage) (json.RawMessage, error) {
	for {
		target, err := d.Check(asked, netip.MustParseAddr("127.0.0.1"), 4096)
		if err == nil {
			return target, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestEveryPeerTakesAKick has each driver kick its peer with the entry and the
// target that the peer hands out.
func TestEveryPeerTakesAKick(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			defer leak.None(t, goleak.IgnoreCurrent())
			pushes := make(chan Push, 10)
			p, err := k.Start(Options{Dir: filepath.Join(t.TempDir(), "files"), OnPush: func(p Push) { pushes <- p }})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}()
			if err := kick(t, p, func(err error) bool { return err == nil }); err != nil {
				t.Fatal(err)
			}
			select {
			case push := <-pushes:
				if push.To == "" || push.Text == "" || strings.Contains(push.Text, "\n") {
					t.Errorf("told of %+v", push)
				}
			case <-time.After(patience):
				t.Fatal("no push arrives")
			}
		})
	}
}

// TestAnswers provokes what each word stands for.
func TestAnswers(t *testing.T) {
	kinds := map[string]error{
		gone: edition.ErrGone, "wrong-app": edition.ErrGone, refused: edition.ErrForbidden, tooMany: edition.ErrTooMany,
	}
	for _, k := range Kinds() {
		for _, word := range slices.Sorted(maps.Keys(k.Answers)) {
			if word == hang {
				continue // the driver's own timeout ends it, which takes seconds
			}
			t.Run(k.Name+"/"+word, func(t *testing.T) {
				p, err := k.Start(Options{Dir: t.TempDir(), Answer: word})
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				want := kinds[word]
				right := func(err error) bool { return err != nil && (want == nil || errors.Is(err, want)) }
				if word == "undelivered" { // the receipt that says so comes later
					right = func(err error) bool { return err == nil }
				}
				if err := kick(t, p, right); !right(err) {
					t.Errorf("got %v, want %v", err, want)
				}
			})
		}
	}
}

func TestUnknownAnswer(t *testing.T) {
	for _, k := range Kinds() {
		if _, err := k.Start(Options{Dir: t.TempDir(), Answer: "maybe"}); !errors.Is(err, edition.ErrUsage) {
			t.Errorf("%s: got %v", k.Name, err)
		}
		if _, err := k.Start(Options{Dir: t.TempDir(), Addr: "256.0.0.1:99999"}); !errors.Is(err, edition.ErrListen) {
			t.Errorf("%s: got %v", k.Name, err)
		}
	}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{"smpp": "smpp", "sms": "smpp", "udp": "udp", "pigeon": ""} {
		if k, ok := Find(name); k.Name != want || ok != (want != "") {
			t.Errorf("%s: got %s, %v", name, k.Name, ok)
		}
	}
}
