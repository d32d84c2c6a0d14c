package publish

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

func TestParams(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"a=b":                          "a:b",
		" A = b ;c,d=":                 "a:b c: d:",
		`t="a,b;c=\"d\"", k=e`:         `t:a,b;c="d" k:e`,
		`t="open, k=e`:                 `t:"open, k=e`,
		`;;,,=x,a==b`:                  "a:=b",
		`a="x\`:                        `a:"x\`,
		"<a,b;c>;rel=x":                "<a,b;c>: rel:x",
		"keyid=p256dh;dh=A,keyid=b;dh": "keyid:p256dh dh:A keyid:b dh:",
	} {
		var got []string
		for name, value := range params([]string{in}) {
			got = append(got, name+":"+value)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: %s, want %s", in, text, want)
		}
	}
}

func TestReceiptLinks(t *testing.T) {
	const rel = relReceipt
	for in, want := range map[string][]string{
		"<a>; rel=" + rel:                             {"a"},
		`<a>; rel="` + rel + `"`:                      {"a"},
		`<a>;rel="x ` + rel + ` y"; foo=bar`:          {"a"},
		`<a,b;c>; rel="` + rel + `", <d>; rel=` + rel: {"a,b;c", "d"},
		`<a>; rel=other, <b>; rel="` + rel + `"`:      {"b"},
		`<a>; REL="` + strings.ToUpper(rel) + `"`:     {"a"},
		`a; rel=` + rel:                               nil,
		`<a; rel=` + rel:                              nil,
		`<a>`:                                         nil,
		`<>; rel=` + rel:                              {""},
		`<a>; rel="` + rel:                            nil,
		"":                                            nil,
	} {
		if got := slices.Collect(receiptLinks([]string{in})); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestWaitOf(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"":                                  receiptWait,
		"wait=0":                            0,
		"respond-async, wait=10":            10 * time.Second,
		"wait=99999999999999999999999999":   wire.MaxWait,
		"wait=1.5":                          receiptWait,
		`foo; bar, WAIT="5"`:                5 * time.Second,
		"return=minimal;wait=3,wait=4,wait": 3 * time.Second,
	} {
		if got := waitOf(http.Header{"Prefer": {in}}); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

// credentialsOf finds nothing that the header does not say, and never too much.
func FuzzAuthorization(f *testing.F) {
	f.Add("vapid t=a.b.c, k=BN", "")
	f.Add(`VAPID k="x",t="y\"z"`, "")
	f.Add("WebPush a.b.c", "keyid=p256dh;dh=x;p256ecdsa=y")
	f.Add("WebPush a.b.c", `dh=x,p256ecdsa="y`)
	f.Add("Basic x", "")
	v := newVerifier(publicURL)
	f.Fuzz(func(t *testing.T, authorization, cryptoKey string) {
		c, err := credentialsOf(http.Header{"Authorization": {authorization}, "Crypto-Key": {cryptoKey}})
		if err != nil || c == (credentials{}) {
			if c != (credentials{}) {
				t.Fatalf("%+v beside %v", c, err)
			}
			return
		}
		if c.token == "" || c.key == "" || len(c.token)+len(c.key) > maxCredentials {
			t.Fatalf("%+v", c)
		}
		if plain := strings.NewReplacer(`\`, "").Replace(authorization); !strings.Contains(plain, strings.ReplaceAll(c.token, `\`, "")) {
			t.Fatalf("%q is not of %q", c.token, authorization)
		}
		if who, err := v.verify(c); err == nil {
			t.Fatalf("%+v was taken for %v", c, who)
		}
	})
}

// A Crypto-Key is read the same however its parts are joined.
func FuzzCryptoKey(f *testing.F) {
	f.Add("keyid=p256dh;dh=x", "p256ecdsa=y")
	f.Add(`dh="a;b"`, "=")
	f.Fuzz(func(t *testing.T, one, two string) {
		apart := param([]string{one, two}, "p256ecdsa")
		if strings.ContainsAny(one, `"<>\`) {
			return
		}
		if joined := param([]string{one + "," + two}, "p256ecdsa"); joined != apart {
			t.Fatalf("%q, apart %q", joined, apart)
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add(`<https://push.example/v1/r/x>; rel="` + relReceipt + `"`)
	f.Add(`<a,b>;rel=x, <c>; rel="y ` + relReceipt + `"`)
	f.Fuzz(func(t *testing.T, s string) {
		for target := range receiptLinks([]string{s}) {
			if !strings.Contains(s, "<"+target+">") || !strings.Contains(strings.ToLower(strings.ReplaceAll(s, `\`, "")), relReceipt) {
				t.Fatalf("%q of %q", target, s)
			}
		}
	})
}

// A topic that is taken, and a TTL, are as RFC 8030 has them.
func FuzzTopic(f *testing.F) {
	f.Add("upd", "60", "high", "respond-async")
	f.Add(strings.Repeat("a", 33), "-1", "low,high", `wait="5"`)
	f.Fuzz(func(t *testing.T, topic, ttl, urgency, prefer string) {
		h := http.Header{"Topic": {topic}, "Ttl": {ttl}, "Urgency": {urgency}, "Prefer": {prefer}}
		if got, err := topicOf(h); err == nil && (got != topic || len(got) == 0 || len(got) > maxTopic || strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "") {
			t.Fatalf("topic %q", topic)
		}
		if d, err := ttlOf(h); err == nil && (strings.Trim(ttl, "0123456789") != "" || d < 0 || d > edition.MaxBodyTTL) {
			t.Fatalf("TTL %q is %v", ttl, d)
		}
		if u, err := urgencyOf(h); err == nil && u.String() != strings.ToLower(urgency) {
			t.Fatalf("urgency %q is %v", urgency, u)
		}
		if d := waitOf(h); d < 0 || d > wire.MaxWait {
			t.Fatalf("Prefer %q waits %v", prefer, d)
		}
		if wantsReceipt(h) && !strings.Contains(strings.ToLower(prefer), "respond-async") {
			t.Fatalf("Prefer %q wants a receipt", prefer)
		}
	})
}
