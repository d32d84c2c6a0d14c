package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/edition-push/edition/kickdrivers"
)

// RunKicks plays the demo of kick drivers in a folder: one sleeping device for
// each driver is sent a version, kicked, connects, takes the version and
// acknowledges it. It returns nil when every one of them has.
func RunKicks(ctx context.Context, dir string, out *transcript) (err error) {
	out.text("Kick drivers: a server, relay \"near\" inside a network, and one sleeping device for each driver.")
	out.text("All of it is on loopback, with its data in %s. Times are in seconds.\n", dir)

	story, cancel := context.WithTimeoutCause(ctx, kicksTimeout, errKicksSlow)
	defer cancel()
	s, err := openKicks(story, dir, out)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, sl := range s.sleepers {
		out.text("")
		if err := s.wake(story, sl); err != nil {
			return stopped(ctx, err)
		}
	}
	out.text("\n%s", s.table())
	if err := s.account(story); err != nil {
		return stopped(ctx, err)
	}
	out.text("Driver log only writes a line: it has nobody to wake.")
	out.text("\nEvery sleeping device was woken, and has its version.")
	return nil
}

// kicksTimeout bounds `edition demo --kicks`.
const kicksTimeout = 3 * time.Minute

var errKicksSlow = fmt.Errorf("not every device was woken within %v", kicksTimeout)

// wake sends a version to a device that sleeps, and waits until its app server
// can see that it has it.
func (s *kickStage) wake(ctx context.Context, sl *sleeper) error {
	if err := sl.node.awaitAsleep(ctx, sl.connected); err != nil {
		return fmt.Errorf("%s: %w", sl.name, err)
	}
	sl.put = time.Now()
	if err := s.put(ctx, sl.device, 1); err != nil {
		return err
	}
	for sl.last.Load() < 1 {
		select {
		case <-sl.rung:
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s is not woken by %s: %w", sl.name, sl.driver, context.Cause(ctx))
		}
	}
	sl.told = time.Now()
	if err := s.awaitDelivered(ctx, sl.device, 1, sl.put); err != nil {
		return err
	}
	sl.delivered = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl.kicked.IsZero() {
		return fmt.Errorf("%s has its version, but nothing kicked it by %s", sl.name, sl.driver)
	}
	return nil
}

// table says how long each took.
func (s *kickStage) table() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "driver\tdevice\tPUT → kick\t→ UPDATE\t→ ACK at the server\t") //nolint:errcheck // to a buffer
	ms := func(from, to time.Time) string {
		return fmt.Sprintf("%.1f ms", float64(to.Sub(from).Microseconds())/1000)
	}
	for _, sl := range s.sleepers {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", sl.driver, sl.name, ms(sl.put, sl.kicked), ms(sl.kicked, sl.told), ms(sl.told, sl.delivered)) //nolint:errcheck // the same
	}
	t.Flush() //nolint:errcheck // the same
	return b.String()
}

// account shows what the relay has counted, which closes the loop: whom it
// kicked has connected.
func (s *kickStage) account(ctx context.Context) error {
	near := s.sleepers[0].node
	text, err := fetch(ctx, near.Admin+"/kicks")
	if err != nil {
		return err
	}
	var entries []kickdrivers.EntryState
	if err := json.Unmarshal(text, &entries); err != nil {
		return err
	}
	var said []string
	for _, e := range entries {
		if n := e.Outcomes[kickdrivers.Sent.String()]; n > 0 {
			said = append(said, fmt.Sprintf("%s %d/%d", e.Name, n, e.Outcomes[kickdrivers.Answered.String()]))
		}
	}
	s.out.text("near has counted, sent/answered: %s.", strings.Join(said, ", "))
	s.out.text("Two of its udp kicks were for devices of others, which do not connect to it.")
	return nil
}

var connectedNow = regexp.MustCompile(`(?m)^edition_hub_connected (\d+)$`)

// awaitAsleep waits until no device is connected to a node: n parties are left,
// its relays.
func (a *addrs) awaitAsleep(ctx context.Context, n int) error {
	for {
		text, err := fetch(ctx, a.Admin+"/metrics")
		if m := connectedNow.FindSubmatch(text); err == nil && m != nil && string(m[1]) == strconv.Itoa(n) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("devices of %s do not fall asleep: %w", a.name, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := plain.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
