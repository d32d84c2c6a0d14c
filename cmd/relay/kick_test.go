package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/cmd/server"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/internal/leak"
)

// TestKickThroughRelay has a device registered at a server, which can only be
// woken from inside: by the drivers of a relay that nobody can connect to. The
// request travels over the relay's own connection, or with its polls.
func TestKickThroughRelay(t *testing.T) {
	defer leak.None(t)
	for _, mode := range []string{"websocket", "poll"} {
		t.Run(mode, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			roles, ctx := errgroup.WithContext(ctx)
			start := func(run func(serve.Options) error) serve.Addrs {
				ready := make(chan serve.Addrs, 1)
				roles.Go(func() error {
					return run(serve.Options{Log: slog.New(slog.DiscardHandler), Ready: func(a serve.Addrs) { ready <- a }})
				})
				select {
				case a := <-ready:
					return a
				case <-ctx.Done():
					t.Fatal(roles.Wait())
				case <-time.After(patience):
					t.Fatal("a role does not get ready")
				}
				return serve.Addrs{}
			}
			outside := configs.DefaultServer()
			ground(t, &outside.Node, configs.Peer{Name: "inside", Token: "t"})
			outside.Kicks = []map[string]any{{"driver": "gateway", "name": "gw", "relay": "inside", "retry_min": "200ms", "retry_max": "1s", "break_for": "200ms", "min_interval": "0s"}}
			at := start(func(o serve.Options) error { return server.Run(ctx, outside, o) })
			inside := configs.DefaultRelay()
			ground(t, &inside.Node)
			inside.Name = "inside"
			inside.Upstreams = []configs.Upstream{{Name: "up", URL: at.URL, Token: "t", Mode: mode, Wait: 20 * time.Second}}
			inside.UpstreamKicks = configs.Rights{Drivers: []string{"udp"}, Networks: []string{"127.0.0.0/8"}, Rate: 100, Burst: 100}
			start(func(o serve.Options) error { return Run(ctx, inside, o) })

			phone, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer phone.Close()
			port := phone.LocalAddr().(*net.UDPAddr).Port
			endpoint := register(t, at.URL, fmt.Sprintf(`{"driver":"gw","route":{"driver":"udp","ip":"127.0.0.1","port":%d}}`, port))
			idle := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			putTo(t, idle, endpoint, "version=1")
			buf := make([]byte, 100)
			phone.SetReadDeadline(time.Now().Add(patience))
			n, _, err := phone.ReadFrom(buf)
			if want := fmt.Sprintf("NOTIFY 127.0.0.1:%d", port); err != nil || string(buf[:n]) != want {
				t.Errorf("the device got %q, %v; want %q", buf[:n], err, want)
			}
			cancel()
			if err := roles.Wait(); err != nil {
				t.Errorf("stopping: %v", err)
			}
		})
	}
}

// register registers a new device with a way to wake it and returns its
// endpoint.
func register(t *testing.T, url, kick string) string {
	t.Helper()
	body := fmt.Sprintf(`{"uaid":%q,"secret":%q,"appid":%q,"kick":%s}`, edition.NewUAID(), strings.Repeat("s", 43), edition.NewAppID(), kick)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/register", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	idle := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := idle.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Endpoint string }
	if err := json.Unmarshal(text, &answer); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	return answer.Endpoint
}
