package apnssim_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"
	"github.com/sideshow/apns2/token"

	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

func TestMain(m *testing.M) { leak.Main(m) }

var device = strings.Repeat("0123456789abcdef", 4)

func start(t *testing.T, o apnssim.Options) (s *apnssim.Server, dir string) {
	t.Helper()
	s, err := apnssim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dir = t.TempDir()
	if err := s.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// client speaks HTTP/2 to the server, with a push certificate if certified.
func client(t *testing.T, dir string, certified bool) *http.Client {
	t.Helper()
	o := outbound.TLS{CAFile: filepath.Join(dir, simtls.CAFile)}
	if certified {
		o.CertFile, o.KeyFile = filepath.Join(dir, simtls.CertFile), filepath.Join(dir, simtls.KeyFile)
	}
	conf, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// signer makes provider tokens.
func signer(t *testing.T, dir string) *token.Token {
	t.Helper()
	key, err := token.AuthKeyFromFile(filepath.Join(dir, apnssim.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return &token.Token{AuthKey: key, KeyID: apnssim.KeyID, TeamID: apnssim.TeamID}
}

// TestIndependentSender has a client that others wrote push to the simulator,
// by token and by certificate.
func TestIndependentSender(t *testing.T) {
	var got atomic.Pointer[apnssim.Kick]
	s, dir := start(t, apnssim.Options{
		OnKick: func(k apnssim.Kick) { got.Store(&k) },
		Answer: func(k apnssim.Kick) apnssim.Answer {
			if k.CollapseID == "gone" {
				return apnssim.Answer{Status: 410, Reason: apns2.ReasonUnregistered, Timestamp: time.UnixMilli(1700000000000)}
			}
			return apnssim.Answer{}
		},
	})
	for name, sender := range map[string]*apns2.Client{
		"token":       {Host: s.URL(), Token: signer(t, dir), HTTPClient: client(t, dir, false)},
		"certificate": {Host: s.URL(), HTTPClient: client(t, dir, true)},
	} {
		n := &apns2.Notification{
			DeviceToken: device, Topic: apnssim.Topic, PushType: apns2.PushTypeBackground, Priority: apns2.PriorityLow,
			ApnsID: "123e4567-e89b-12d3-a456-426655440000", CollapseID: "latest",
			Expiration: time.Unix(1900000000, 0), Payload: payload.NewPayload().ContentAvailable(),
		}
		res, err := sender.PushWithContext(t.Context(), n)
		if err != nil || !res.Sent() || res.ApnsID != n.ApnsID {
			t.Fatalf("%s: %+v, %v", name, res, err)
		}
		k := got.Load()
		if k.Token != device || k.Topic != n.Topic || k.Priority != 5 || k.PushType != "background" || k.CollapseID != "latest" ||
			!k.Expiration.Equal(n.Expiration) || string(k.Body) != `{"aps":{"content-available":1}}` {
			t.Errorf("%s: arrived %+v", name, *k)
		}
		n.CollapseID = "gone"
		res, err = sender.PushWithContext(t.Context(), n)
		if err != nil || res.StatusCode != 410 || res.Reason != apns2.ReasonUnregistered || res.Timestamp.Unix() != 1700000000 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
}

// TestRefuses breaks a good push in one way each.
func TestRefuses(t *testing.T) {
	s, dir := start(t, apnssim.Options{OnKick: func(k apnssim.Kick) { t.Errorf("accepted %+v", k) }})
	_, elsewhere := start(t, apnssim.Options{})
	c := client(t, dir, false)
	bearer := func(change func(*token.Token)) string {
		tok := signer(t, dir)
		change(tok)
		if _, err := tok.Generate(); err != nil {
			t.Fatal(err)
		}
		return "bearer " + tok.Bearer
	}
	good := bearer(func(*token.Token) {})
	for _, b := range []struct {
		want   string
		status int
		change func(*http.Request)
	}{
		{"MethodNotAllowed", 405, func(r *http.Request) { r.Method = http.MethodPut }},
		{"BadPath", 404, func(r *http.Request) { r.URL.Path = "/3/devices/" + device }},
		{"BadPath", 404, func(r *http.Request) { r.URL.Path += "/x" }},
		{"MissingDeviceToken", 400, func(r *http.Request) { r.URL.Path = "/3/device/" }},
		{"BadDeviceToken", 400, func(r *http.Request) { r.URL.Path = "/3/device/0123" }},
		{"MissingProviderToken", 403, func(r *http.Request) { r.Header.Del("Authorization") }},
		{"MissingProviderToken", 403, func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") }},
		{"InvalidProviderToken", 403, func(r *http.Request) { r.Header.Set("Authorization", good+"x") }},
		{"InvalidProviderToken", 403, func(r *http.Request) {
			r.Header.Set("Authorization", bearer(func(tok *token.Token) { tok.AuthKey = signer(t, elsewhere).AuthKey }))
		}},
		{"InvalidProviderToken", 403, func(r *http.Request) {
			r.Header.Set("Authorization", bearer(func(tok *token.Token) { tok.KeyID = "another" }))
		}},
		{"InvalidProviderToken", 403, func(r *http.Request) {
			r.Header.Set("Authorization", bearer(func(tok *token.Token) { tok.TeamID = "another" }))
		}},
		{"BadMessageId", 400, func(r *http.Request) { r.Header.Set("Apns-Id", "1") }},
		{"MissingTopic", 400, func(r *http.Request) { r.Header.Del("Apns-Topic") }},
		{"TopicDisallowed", 400, func(r *http.Request) { r.Header.Set("Apns-Topic", "com.example.other") }},
		{"DuplicateHeaders", 400, func(r *http.Request) { r.Header.Add("Apns-Topic", apnssim.Topic) }},
		{"InvalidPushType", 400, func(r *http.Request) { r.Header.Set("Apns-Push-Type", "loud") }},
		{"BadPriority", 400, func(r *http.Request) { r.Header.Set("Apns-Priority", "7") }},
		{"BadPriority", 400, func(r *http.Request) { r.Header.Set("Apns-Priority", "10") }}, // of a background push
		{"BadPriority", 400, func(r *http.Request) { r.Header.Del("Apns-Priority") }},       // 10 then
		{"BadExpirationDate", 400, func(r *http.Request) { r.Header.Set("Apns-Expiration", "soon") }},
		{"BadCollapseId", 400, func(r *http.Request) { r.Header.Set("Apns-Collapse-Id", strings.Repeat("x", 65)) }},
		{"PayloadEmpty", 400, func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }},
		{"PayloadTooLarge", 413, func(r *http.Request) {
			body := `{"x":"` + strings.Repeat("x", 4096) + `"}`
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/3/device/"+device, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", good)
		req.Header.Set("Apns-Topic", apnssim.Topic)
		req.Header.Set("Apns-Push-Type", "background")
		req.Header.Set("Apns-Priority", "5")
		b.change(req)
		res, err := c.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", b.want, err)
		}
		var said struct{ Reason string }
		err = json.NewDecoder(res.Body).Decode(&said)
		res.Body.Close()
		if err != nil || res.StatusCode != b.status || said.Reason != b.want || res.Header.Get("Apns-Id") == "" {
			t.Errorf("answered %d %q, %v; want %d %s", res.StatusCode, said.Reason, err, b.status, b.want)
		}
	}
}

// TestCertificateOfAnother is refused, though no token is there.
func TestCertificateOfAnother(t *testing.T) {
	s, dir := start(t, apnssim.Options{})
	_, elsewhere := start(t, apnssim.Options{})
	pair, err := tls.LoadX509KeyPair(filepath.Join(elsewhere, simtls.CertFile), filepath.Join(elsewhere, simtls.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, dir, false)
	c.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	res, err := (&apns2.Client{Host: s.URL(), HTTPClient: c}).PushWithContext(t.Context(), &apns2.Notification{DeviceToken: device, Topic: apnssim.Topic, Payload: "{}"})
	if err != nil || res.StatusCode != 403 || res.Reason != apns2.ReasonBadCertificate {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestExpireTokens refuses what was good, and takes a new one.
func TestExpireTokens(t *testing.T) {
	s, dir := start(t, apnssim.Options{})
	tok := signer(t, dir)
	sender := &apns2.Client{Host: s.URL(), Token: tok, HTTPClient: client(t, dir, false)}
	n := &apns2.Notification{DeviceToken: device, Topic: apnssim.Topic, Payload: "{}"}
	for _, want := range []string{"", apns2.ReasonExpiredProviderToken, ""} {
		res, err := sender.PushWithContext(t.Context(), n)
		if err != nil || res.Reason != want {
			t.Errorf("%+v, %v; want %q", res, err, want)
		}
		if want == "" {
			s.ExpireTokens()
		} else {
			tok.IssuedAt = 0 // so that it makes another
		}
	}
}
