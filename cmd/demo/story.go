package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// plain speaks to loopback only: no proxies.
var plain = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}}

// play sends versions to each device and waits until it has them and its app
// server can see so.
func (s *stage) play(ctx context.Context) error {
	for _, d := range s.devices {
		s.out.text("")
		versions := []uint64{1}
		if d.asleep {
			versions = []uint64{1, 2} // it will be told of the latest only
		}
		var sent time.Time
		for _, v := range versions {
			sent = time.Now()
			if err := s.put(ctx, d, v); err != nil {
				return err
			}
		}
		latest := versions[len(versions)-1]
		for d.last.Load() < latest {
			select {
			case <-d.rung:
			case err := <-s.failed:
				return err
			case <-ctx.Done():
				return fmt.Errorf("%s did not get version %d: %w", d.name, latest, context.Cause(ctx))
			}
		}
		if err := s.awaitDelivered(ctx, d, latest, sent); err != nil {
			return err
		}
	}
	return nil
}

// answer is what PUT and GET say.
type answer struct {
	Status  string `json:"status"`
	State   string `json:"state"`
	Version uint64 `json:"version"`
}

func (s *stage) put(ctx context.Context, d *device, version uint64) error {
	s.out.step("app", "PUT version=%d to %s's endpoint", version, d.name)
	start := time.Now()
	code, a, err := do(ctx, http.MethodPut, d.endpoint, url.Values{"version": {fmt.Sprint(version)}})
	if err != nil {
		return err
	}
	meaning := map[string]string{
		"delivered": "the device has it",
		"stored":    "it is on the server's disk",
	}[a.Status]
	if meaning == "" || code != http.StatusOK && code != http.StatusAccepted {
		return fmt.Errorf("PUT to %s's endpoint was answered %d %s", d.name, code, a.Status)
	}
	s.out.step("app", "is answered %d %s after %s: %s", code, a.Status, milliseconds(start), meaning)
	return nil
}

// awaitDelivered asks the endpoint, as an app server can, until the device's
// ack has come up to the server.
func (s *stage) awaitDelivered(ctx context.Context, d *device, version uint64, sent time.Time) error {
	for {
		_, a, err := do(ctx, http.MethodGet, d.endpoint, nil)
		if err != nil {
			return err
		}
		if a.State == "delivered" && a.Version == version {
			s.out.step("app", "GET %s's endpoint: version %d delivered, %s after its PUT", d.name, version, milliseconds(sent))
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s's endpoint still shows version %d %s: %w", d.name, a.Version, a.State, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

func do(ctx context.Context, method, endpoint string, form url.Values) (code int, a answer, err error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, endpoint, body)
	if err != nil {
		return 0, a, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := plain.Do(req)
	if err != nil {
		return 0, a, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, a, json.NewDecoder(resp.Body).Decode(&a)
}

func milliseconds(since time.Time) string {
	return fmt.Sprintf("%.1f ms", float64(time.Since(since).Microseconds())/1000)
}
