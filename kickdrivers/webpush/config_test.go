package webpush

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

func TestFaults(t *testing.T) {
	k, err := GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAPID", k.Private)
	t.Setenv("BROKEN", "this-is-a-secret")
	good := DefaultConfig()
	good.Hosts, good.VAPIDKey.Env, good.Subject = []string{"push.example.org"}, "VAPID", "https://example.org/contact"
	if faults := good.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, c := range []struct {
		key    string
		change func(*Config)
	}{
		{"hosts", func(c *Config) { c.Hosts = nil }},
		{"hosts[1]", func(c *Config) { c.Hosts = append(c.Hosts, "*") }},
		{"networks[0]", func(c *Config) { c.Networks = []string{"lan"} }},
		{"vapid_key", func(c *Config) { c.VAPIDKey = driver.Secret{} }},
		{"vapid_key", func(c *Config) { c.VAPIDKey = driver.Secret{Env: "BROKEN"} }},
		{"vapid_key", func(c *Config) { c.VAPIDKey = driver.Secret{File: "no/such/file"} }},
		{"subject", func(c *Config) { c.Subject = "" }},
		{"subject", func(c *Config) { c.Subject = "push@example.org" }},
		{"subject", func(c *Config) { c.Subject = "mailto:" }},
		{"subject", func(c *Config) { c.Subject = "http://example.org" }},
		{"ttl", func(c *Config) { c.TTL = -1 }},
		{"ttl", func(c *Config) { c.TTL = 1500 * time.Millisecond }},
		{"ttl", func(c *Config) { c.TTL = 29 * 24 * time.Hour }},
		{"urgency", func(c *Config) { c.Urgency = "urgent" }},
		{"topic", func(c *Config) { c.Topic = strings.Repeat("x", 33) }},
		{"topic", func(c *Config) { c.Topic = "a b" }},
		{"timeout", func(c *Config) { c.Timeout = 0 }},
		{"parallel_requests", func(c *Config) { c.ParallelRequests = 0 }},
		{"connections", func(c *Config) { c.Connections = 0 }},
		{"tls.server_name", func(c *Config) { c.Hosts, c.TLS.ServerName = []string{"*.example.org"}, "push.example.org" }},
		{"tls.ca_file", func(c *Config) { c.TLS.CAFile = "no/such/file" }},
	} {
		conf := good
		c.change(&conf)
		faults := conf.Faults()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), c.key+": ") || strings.Contains(faults[0].Error(), "this-is-a-secret") {
			t.Errorf("%s: faults %v", c.key, faults)
		}
		if _, err := New(conf, driver.Env{}); !errors.Is(err, edition.ErrConfig) {
			t.Errorf("%s: New: %v", c.key, err)
		}
	}
}

// TestKeys reads one private key in each of its forms.
func TestKeys(t *testing.T) {
	k, err := GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	sec1, err := x509.MarshalECPrivateKey(private)
	sec1PEM := block("EC PRIVATE KEY", sec1, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	pkcs8PEM := block("PRIVATE KEY", pkcs8, err)
	for _, text := range [][]byte{
		[]byte(k.Private), []byte(k.Private + "="), []byte(base64.StdEncoding.EncodeToString(raw)), sec1PEM, pkcs8PEM,
	} {
		if got, err := PublicKey(text); err != nil || got != k.Public {
			t.Errorf("%s: public key %q, %v; want %q", text, got, err, k.Public)
		}
	}
	larger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(larger)
	for _, text := range [][]byte{
		nil, []byte("x"), []byte(k.Public), []byte(k.Private[:40]), make([]byte, 32), block("PRIVATE KEY", der, err), block("PRIVATE KEY", raw, nil),
		[]byte(base64.RawURLEncoding.EncodeToString(make([]byte, 32))), []byte(base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 32))),
	} {
		if got, err := PublicKey(text); err == nil {
			t.Errorf("%q is taken for the key of %s", text, got)
		}
	}
}

// TestVector seals the example of RFC 8291, section 5.
func TestVector(t *testing.T) {
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	own, err := ecdh.P256().NewPrivateKey(decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	ua, err := ecdh.P256().NewPublicKey(decode("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal([]byte("When I grow up, I want to be a watermelon"), ua, decode("BTBZMqHH6r4Tts7J_aSIgg"), own, decode("DGv6ra1nlYgDCS1FRnbzlw"))
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	if err != nil || base64.RawURLEncoding.EncodeToString(got) != want {
		t.Errorf("sealed %s, %v; want %s", base64.RawURLEncoding.EncodeToString(got), err, want)
	}
}

// TestTokens: one for each push service, used for half its life.
func TestTokens(t *testing.T) {
	k, err := GenerateKeys()
	if err != nil {
		t.Fatal(err)
	}
	key, err := parseKey([]byte(k.Private))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(key, "mailto:push@example.org")
		get := func(origin string) string {
			h, err := s.authorization(origin)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		first := get("https://a.example")
		if get("https://b.example") == first {
			t.Error("two push services get one token")
		}
		time.Sleep(tokenLife/2 - time.Second)
		if get("https://a.example") != first {
			t.Error("a token is not used again")
		}
		time.Sleep(time.Second)
		second := get("https://a.example")
		if second == first {
			t.Error("a token is used for more than half its life")
		}
		token, _, _ := strings.Cut(strings.TrimPrefix(second, "vapid t="), ",")
		b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(b, &claims); err != nil {
			t.Fatal(err)
		}
		if claims["aud"] != "https://a.example" || claims["sub"] != "mailto:push@example.org" || claims["exp"] != float64(time.Now().Add(tokenLife).Unix()) {
			t.Errorf("the token says %v", claims)
		}
		for i := range maxTokens + 10 {
			get("https://" + strings.Repeat("x", i) + ".example")
		}
		if len(s.tokens) > maxTokens {
			t.Errorf("%d tokens are kept", len(s.tokens))
		}
	})
}

// FuzzCheck: whatever is accepted is accepted again and is one thing.
func FuzzCheck(f *testing.F) {
	f.Add(`{"endpoint":"https://push.example.org/p/%41?x=%2f#f"}`)
	f.Add(`{"endpoint":"https://push.example.org/p//%2e%2e","keys":{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`)
	f.Add(`{"endpoint":"https://push.example.org.:443"}`)
	k, err := GenerateKeys()
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(f.TempDir(), "vapid")
	if err := os.WriteFile(file, []byte(k.Private), 0o600); err != nil {
		f.Fatal(err)
	}
	c := DefaultConfig()
	c.Hosts, c.VAPIDKey.File, c.Subject = []string{"push.example.org"}, file, "mailto:push@example.org"
	d, err := New(c, driver.Env{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := d.Check([]byte(s), netip.Addr{}, len(s))
		if err != nil {
			return
		}
		again, err := d.Check(once, netip.Addr{}, len(s))
		if err != nil || !bytes.Equal(once, again) {
			t.Errorf("%q is stored as %s, and that as %s, %v", s, once, again, err)
		}
		req, _, err := d.request(t.Context(), driver.Kick{Target: once})
		if err != nil || req.URL.String() != d.Aim(once) || req.URL.Scheme != "https" || req.URL.Host != "push.example.org" {
			t.Errorf("%q: request for %v, %v", s, req, err)
		}
	})
}
