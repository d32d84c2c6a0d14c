package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/wire"
)

// TestWebPush: a message on its way through a whole server, to its receipt.
func TestWebPush(t *testing.T) {
	cfg := configs.DefaultServer()
	cfg.Listen, cfg.Admin, cfg.Data, cfg.Drain = "127.0.0.1:0", "127.0.0.1:0", t.TempDir(), 10*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	addrs, ended := make(chan serve.Addrs, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, cfg, serve.Options{Out: io.Discard, Ready: func(a serve.Addrs) { addrs <- a }})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var at string
	select {
	case a := <-addrs:
		at = a.URL
	case err := <-ended:
		ended <- err
		t.Fatal("the server has not started")
	}
	do := func(method, url string, body any, status int, headers ...string) *http.Response {
		t.Helper()
		text, err := json.Marshal(body)
		if body == nil || err != nil {
			text = nil
		}
		r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); err != nil || resp.StatusCode != status {
			t.Fatalf("%s: %d %s, %v, want %d", method, resp.StatusCode, answer, err, status)
		}
		resp.Body = io.NopCloser(bytes.NewReader(answer))
		return resp
	}
	read := func(resp *http.Response, into any) {
		t.Helper()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}

	key, secret := edition.Key{UAID: edition.NewUAID(), AppID: edition.NewAppID()}, edition.NewSecret()
	var made wire.RegisterResponse
	read(do(http.MethodPost, at+wire.PathRegister, map[string]any{"uaid": key.UAID, "secret": secret, "appid": key.AppID}, 201), &made)
	do(http.MethodPost, made.Endpoint, nil, 201, "TTL", "0") // nobody is connected
	resp := do(http.MethodPost, made.Endpoint, nil, 202, "TTL", "60", "Prefer", "respond-async")
	receipt, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	do(http.MethodGet, receipt, nil, 200, "Prefer", "wait=0")

	told := make(chan *http.Response, 1)
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, receipt, nil)
		if err != nil {
			told <- nil
			return
		}
		r.Header.Set("Prefer", "wait=60")
		resp, _ := http.DefaultClient.Do(r)
		told <- resp
	}()
	agents := []map[string]any{{"uaid": key.UAID, "secret": secret}}
	var update struct {
		Updates map[string]map[string]edition.Version
	}
	read(do(http.MethodPost, at+wire.PathUpdate, map[string]any{"agents": agents}, 200), &update)
	if len(update.Updates[key.UAID.String()]) != 1 {
		t.Fatalf("got %+v", update)
	}
	do(http.MethodPost, at+wire.PathAck, map[string]any{"agents": agents, "updates": update.Updates}, 204)
	if resp = <-told; resp == nil {
		t.Fatal("no receipt")
	}
	if resp.Body.Close(); resp.StatusCode != 204 {
		t.Errorf("the receipt is %d", resp.StatusCode)
	}
	resp = do(http.MethodPost, made.Endpoint, nil, 201, "TTL", "60")
	do(http.MethodDelete, resp.Header.Get("Location"), nil, 204)
}
