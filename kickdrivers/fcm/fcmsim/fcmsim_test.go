package fcmsim_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
	oauthjwt "golang.org/x/oauth2/jwt"

	"github.com/edition-push/edition/internal/leak"
	"github.com/edition-push/edition/kickdrivers/fcm/fcmsim"
	"github.com/edition-push/edition/kickdrivers/outbound"
	"github.com/edition-push/edition/kickdrivers/simtls"
)

func TestMain(m *testing.M) { leak.Main(m) }

const scope = "https://www.googleapis.com/auth/firebase.messaging"

// account is the key file that the simulator writes.
type account struct {
	Email   string `json:"client_email"`
	Key     string `json:"private_key"`
	KeyID   string `json:"private_key_id"`
	Project string `json:"project_id"`
	URI     string `json:"token_uri"`
}

func start(t *testing.T, o fcmsim.Options) (*fcmsim.Server, account, *http.Client) {
	t.Helper()
	s, err := fcmsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	if err := s.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	var a account
	b, err := os.ReadFile(filepath.Join(dir, fcmsim.AccountFile))
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := outbound.New(outbound.Options{TLS: outbound.TLS{CAFile: filepath.Join(dir, simtls.CAFile)}, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return s, a, c
}

// source gets access tokens as programs of others do.
func source(t *testing.T, a account, c *http.Client, scopes ...string) oauth2.TokenSource {
	conf := &oauthjwt.Config{Email: a.Email, PrivateKey: []byte(a.Key), PrivateKeyID: a.KeyID, TokenURL: a.URI, Scopes: scopes}
	return conf.TokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, c))
}

// send posts a body with the token of a source and returns status and answer.
func send(t *testing.T, c *http.Client, url, bearer, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

const device = "phone-1:APA91bSimulatedRegistrationToken"

func TestMessages(t *testing.T) {
	var got []fcmsim.Kick
	s, a, c := start(t, fcmsim.Options{OnKick: func(k fcmsim.Kick) { got = append(got, k) }})
	token, err := source(t, a, c, scope).Token()
	if err != nil || time.Until(token.Expiry) < 50*time.Minute {
		t.Fatalf("token %+v, %v", token, err)
	}
	at := s.URL() + "/v1/projects/" + a.Project + "/messages:send"
	for _, m := range []struct {
		body   string
		status int
		says   string // in the answer
	}{
		{`{"message":{"token":"` + device + `"}}`, 200, `"name":"projects/edition-sim/messages/`},
		{`{"validate_only":true,"message":{"token":"` + device + `","data":{"a":"b"},"android":{"priority":"high","ttl":"3.5s","collapse_key":"k"}}}`, 200, `"name"`},
		{`{`, 400, `"field":"message"`},
		{`{"message":{"token":"` + device + `","notify":{}}}`, 400, `"INVALID_ARGUMENT"`},
		{`{"message":{"token":"` + device + `","data":{"a":7}}}`, 400, `"INVALID_ARGUMENT"`},
		{`{"message":{}}`, 400, `Recipient of the message is not set.`},
		{`{"message":{"token":"x"}}`, 400, `"errorCode":"INVALID_ARGUMENT"`},
		{`{"message":{"token":"` + device + `","data":{"from":"me"}}}`, 400, `"field":"message.data"`},
		{`{"message":{"token":"` + device + `","data":{"google.x":"me"}}}`, 400, `"field":"message.data"`},
		{`{"message":{"token":"` + device + `","data":{"a":"` + strings.Repeat("x", 4096) + `"}}}`, 400, `too big`},
		{`{"message":{"token":"` + device + `","android":{"ttl":"24h"}}}`, 400, `"field":"message.android.ttl"`},
		{`{"message":{"token":"` + device + `","android":{"ttl":"2419201s"}}}`, 400, `"field":"message.android.ttl"`},
		{`{"message":{"token":"` + device + `","android":{"priority":"URGENT"}}}`, 400, `"field":"message.android.priority"`},
	} {
		status, says := send(t, c, at, token.AccessToken, m.body)
		if status != m.status || !strings.Contains(says, m.says) {
			t.Errorf("%.80s: answered %d %s; want %d with %s", m.body, status, says, m.status, m.says)
		}
	}
	if len(got) != 2 || got[1].TTL != 3500*time.Millisecond || got[1].Priority != "HIGH" || got[1].Data["a"] != "b" || got[1].CollapseKey != "k" {
		t.Errorf("arrived %+v", got)
	}
	if status, _ := send(t, c, at, "ya29.x", "{}"); status != 401 {
		t.Errorf("another token: %d", status)
	}
	if status, _ := send(t, c, strings.Replace(at, a.Project, "other", 1), token.AccessToken, "{}"); status != 403 {
		t.Errorf("another project: %d", status)
	}
	s.ExpireTokens()
	if status, _ := send(t, c, at, token.AccessToken, "{}"); status != 401 {
		t.Errorf("an expired token: %d", status)
	}
}

// TestAssertions are requests for an access token that are not in order.
func TestAssertions(t *testing.T) {
	s, a, c := start(t, fcmsim.Options{})
	if _, err := source(t, a, c, "https://www.googleapis.com/auth/drive").Token(); err == nil || !strings.Contains(err.Error(), "invalid_scope") {
		t.Errorf("another scope: %v", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(a.Key))
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	for what, change := range map[string]func(claims jwt.MapClaims, header map[string]any) *rsa.PrivateKey{
		"":                  func(jwt.MapClaims, map[string]any) *rsa.PrivateKey { return nil },
		"another key":       func(jwt.MapClaims, map[string]any) *rsa.PrivateKey { return other },
		"another key's id":  func(_ jwt.MapClaims, h map[string]any) *rsa.PrivateKey { h["kid"] = "x"; return nil },
		"another account":   func(c jwt.MapClaims, _ map[string]any) *rsa.PrivateKey { c["iss"] = "x@y"; return nil },
		"for somebody else": func(c jwt.MapClaims, _ map[string]any) *rsa.PrivateKey { c["aud"] = "https://x/"; return nil },
		"too long":          func(c jwt.MapClaims, _ map[string]any) *rsa.PrivateKey { c["exp"] = now + 7200; return nil },
		"no end":            func(c jwt.MapClaims, _ map[string]any) *rsa.PrivateKey { delete(c, "exp"); return nil },
		"no beginning":      func(c jwt.MapClaims, _ map[string]any) *rsa.PrivateKey { delete(c, "iat"); return nil },
		"over":              func(c jwt.MapClaims, _ map[string]any) *rsa.PrivateKey { c["exp"] = now - 3600; return nil },
		"of tomorrow": func(c jwt.MapClaims, _ map[string]any) *rsa.PrivateKey {
			c["iat"] = now + 86400
			c["exp"] = now + 90000
			return nil
		},
		"signed with nothing": nil,
	} {
		claims := jwt.MapClaims{"iss": a.Email, "aud": a.URI, "scope": scope, "iat": now, "exp": now + 3600}
		tok := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
		tok.Header["kid"] = a.KeyID
		var assertion string
		if change == nil {
			tok = jwt.NewWithClaims(jwt.SigningMethodNone, claims)
			assertion, err = tok.SignedString(jwt.UnsafeAllowNoneSignatureType)
		} else if with := change(claims, tok.Header); with != nil {
			assertion, err = tok.SignedString(with)
		} else {
			assertion, err = tok.SignedString(key)
		}
		if err != nil {
			t.Fatal(err)
		}
		status, says := ask(t, c, s.URL()+"/token", "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion)
		if what == "" && (status != 200 || !strings.Contains(says, `"token_type":"Bearer"`)) {
			t.Errorf("in order: answered %d %s", status, says)
		}
		if what != "" && (status != 400 || !strings.Contains(says, `"invalid_grant"`)) {
			t.Errorf("%s: answered %d %s", what, status, says)
		}
	}
	if status, says := ask(t, c, s.URL()+"/token", "password", ""); status != 400 || !strings.Contains(says, "unsupported_grant_type") {
		t.Errorf("another way to ask: %d %s", status, says)
	}
}

func ask(t *testing.T, c *http.Client, at, grant, assertion string) (int, string) {
	t.Helper()
	form := url.Values{"grant_type": {grant}, "assertion": {assertion}}.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, bytes.NewReader([]byte(form)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
