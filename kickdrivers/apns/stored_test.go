package apns

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzStored has the quick reader agree with the one that reads JSON, whenever
// it says anything.
func FuzzStored(f *testing.F) {
	token := strings.Repeat("0123456789abcdef", 4)
	for _, s := range []string{
		`{"token":"` + token + `","topic":"com.example.app"}`,
		`{"token":"` + token + `","topic":""}`,
		`{"token":"` + token + `"}`,
		`{"token":"` + strings.ToUpper(token) + `","topic":"a.b"}`,
		`{"token":"` + token + `","topic":"a","topic":"b"}`,
		`{"token":"` + token + `","topic":"a\u002eb"}`,
		`{"token":"` + token[1:] + `","topic":"a.b"}`,
		`{"topic":"a.b","token":"` + token + `"}`,
		`{"token":"` + token + `","topic":"a.b"} `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		quick, ok := parseStored(raw)
		whole, err := parse(raw)
		if ok && (err != nil || quick != whole) {
			t.Errorf("%q is %+v, and as JSON %+v, %v", raw, quick, whole, err)
		}
	})
}

// TestStoredQuickly shows that the quick reader reads what is stored.
func TestStoredQuickly(t *testing.T) {
	token := strings.Repeat("0123456789abcdef", 4)
	d := &Driver{config: Config{Topics: []string{"com.Example-1.app"}}}
	raw, err := d.Check([]byte(`{"token":"`+strings.ToUpper(token)+`"}`), netip.Addr{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := parseStored(raw); !ok || got != (target{token, "com.Example-1.app"}) {
		t.Errorf("%s is %+v, %v", raw, got, ok)
	}
}
