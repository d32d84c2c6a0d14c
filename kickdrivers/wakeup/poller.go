package wakeup

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edition-push/edition/kickdrivers/outbound"
)

const (
	maxNetInfo = 4 << 20          // bytes of the platform's list of networks
	pollAgain  = 10 * time.Second // after a failure, if that is sooner
)

// poller asks the platform for its networks, over and over.
type poller struct {
	list  atomic.Pointer[table] // nil: not told yet. What was told last stays.
	tried chan struct{}         // closed after the first answer, or failure
	stop  context.CancelFunc
	done  chan struct{}
}

func newPoller(d *Driver, every time.Duration) *poller {
	ctx, cancel := context.WithCancel(context.Background())
	p := &poller{tried: make(chan struct{}), stop: cancel, done: make(chan struct{})}
	go p.run(ctx, d, every)
	return p
}

func (p *poller) run(ctx context.Context, d *Driver, every time.Duration) {
	defer close(p.done)
	tried := sync.OnceFunc(func() { close(p.tried) })
	defer tried()
	failing := false
	for {
		err := p.poll(ctx, d)
		if ctx.Err() != nil {
			return
		}
		tried()
		next := every
		switch {
		case err != nil && !failing:
			d.log.Warn("the wake-up platform does not tell its networks", "err", err)
		case err == nil && failing:
			d.log.Info("the wake-up platform tells its networks again")
		}
		if failing = err != nil; failing {
			next = min(every, pollAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}

// poll asks once.
func (p *poller) poll(ctx context.Context, d *Driver) error {
	req, tracking, err := d.request(ctx, http.MethodGet, pathNetInfo, "")
	if err != nil {
		return err
	}
	a, err := outbound.Do(d.client, req, maxNetInfo)
	switch {
	case err != nil:
		return err
	case a.Status != http.StatusOK:
		return fmt.Errorf("the platform answered %d: %.100q", a.Status, a.Body)
	case a.Cut:
		return fmt.Errorf("the answer is longer than %d bytes, or broke off", maxNetInfo)
	}
	told, bad, err := parseNetInfo(a.Body)
	if err != nil {
		return err
	}
	now := merge(told, d.own)
	if old := p.list.Swap(&now); old == nil || !reflect.DeepEqual(*old, now) {
		offline := 0
		for i := range now {
			if now[i].offline {
				offline++
			}
		}
		d.log.Info("the wake-up platform has told its networks", "tracking_id", tracking,
			"told", len(told), "usable", len(now), "offline", offline, "unreadable", bad)
	}
	return nil
}

// close ends the poller and waits for it.
func (p *poller) close() {
	p.stop()
	<-p.done
}
