package relay

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edition-push/edition/store/mem"
	"github.com/edition-push/edition/wire"
)

func (f *fake) ask(t *testing.T, id uint64, req wire.WakeRequest) {
	t.Helper()
	b, err := json.Marshal(wire.Message{Type: wire.TypeWake, ID: id, Wake: &req})
	if err != nil {
		t.Fatal(err)
	}
	f.write(b)
}

// An upstream's requests are worked on side by side, and each is answered.
func TestWake(t *testing.T) {
	up := newFake(t)
	g := &rig{store: mem.New(mem.Options{}), reg: prometheus.NewRegistry()}
	slow := make(chan struct{})
	g.wake = func(ctx context.Context, req wire.WakeRequest) wire.WakeResult {
		if req.UAID != nil {
			select {
			case <-slow:
			case <-ctx.Done():
			}
		}
		return wire.WakeResult{Outcome: "sent", Detail: string(req.Kick)}
	}
	g.start(t, g.store, nil, up)
	up.await(t, wire.TypeHello)
	d := newDevice(t)
	up.ask(t, 3, wire.WakeRequest{UAID: &d.uaid})
	up.ask(t, 4, wire.WakeRequest{Kick: json.RawMessage(`{"driver":"udp"}`)})
	if m := up.await(t, wire.TypeWoken); m.ID != 4 || *m.Woken != (wire.WakeResult{Outcome: "sent", Detail: `{"driver":"udp"}`}) {
		t.Errorf("%+v", m)
	}
	close(slow)
	if m := up.await(t, wire.TypeWoken); m.ID != 3 || m.Woken.Outcome != "sent" {
		t.Errorf("%+v", m)
	}
	eventually(t, "a count", func() bool { return g.count(t, "edition_relay_wakes_total", "result", "told") == 2 })
}

func TestWakeTooMany(t *testing.T) {
	up := newFake(t)
	g := &rig{store: mem.New(mem.Options{}), reg: prometheus.NewRegistry()}
	slow := make(chan struct{})
	g.wake = func(context.Context, wire.WakeRequest) wire.WakeResult {
		<-slow
		return wire.WakeResult{Outcome: "sent"}
	}
	g.start(t, g.store, nil, up)
	up.await(t, wire.TypeHello)
	for i := range maxWaking + 1 {
		up.ask(t, uint64(i+1), wire.WakeRequest{})
	}
	if m := up.await(t, wire.TypeWoken); m.ID != maxWaking+1 || m.Woken.Outcome != "rate_limited" || m.Woken.RetryAfter == 0 {
		t.Errorf("%+v", m)
	}
	close(slow)
	for range maxWaking {
		if m := up.await(t, wire.TypeWoken); m.Woken.Outcome != "sent" {
			t.Errorf("%+v", m)
		}
	}
}

func TestWakeRefused(t *testing.T) {
	up := newFake(t)
	newRig(t, nil, up)
	up.await(t, wire.TypeHello)
	up.ask(t, 1, wire.WakeRequest{})
	if m := up.await(t, wire.TypeWoken); m.ID != 1 || m.Woken.Outcome != "refused" {
		t.Errorf("%+v", m)
	}
}
