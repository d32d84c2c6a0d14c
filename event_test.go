package edition_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

func TestParseVersion(t *testing.T) {
	for _, good := range []struct {
		text string
		want edition.Version
	}{
		{"0", 0}, {"1", 1}, {"41", 41}, {"9007199254740993", 1<<53 + 1}, {"9223372036854775807", edition.MaxVersion},
	} {
		v, err := edition.ParseVersion(good.text)
		w, err2 := edition.ParseVersion([]byte(good.text))
		if err != nil || err2 != nil || v != good.want || w != good.want || v.String() != good.text {
			t.Errorf("%q: %d, %d, %v, %v", good.text, v, w, err, err2)
		}
	}
	for _, bad := range badVersions {
		if _, err := edition.ParseVersion(bad); !errors.Is(err, edition.ErrMalformed) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

var badVersions = []string{
	"", "-1", "-0", "+5", "05", "00", " 5", "5 ", "5\n", "1e3", "5.0", "5.", ".5", "0x10", "1_000", "NaN", "Infinity",
	"null", `"5"`, "٥", "5\x00", "9223372036854775808", "18446744073709551615", "18446744073709551616",
	"99999999999999999999", "10000000000000000000000", strings.Repeat("9", 1<<16),
}

func TestVersionInJSON(t *testing.T) {
	var v edition.Version
	if err := json.Unmarshal([]byte("9223372036854775807"), &v); err != nil || v != edition.MaxVersion {
		t.Errorf("%d, %v", v, err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != "9223372036854775807" {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []string{"-1", "05", "1e3", "5.0", "null", `"5"`, "true", "9223372036854775808", "[5]"} {
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s became %d", bad, v)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range append(badVersions, "0", "7", "9223372036854775807") {
		f.Add(s)
	}
	limit := new(big.Int).Lsh(big.NewInt(1), 63)
	f.Fuzz(func(t *testing.T, s string) {
		v, err := edition.ParseVersion(s)
		n, ok := new(big.Int).SetString(s, 10)
		// The one right spelling of a number in range, as math/big has it.
		good := ok && n.Sign() >= 0 && n.Cmp(limit) < 0 && n.String() == s
		if good != (err == nil) || good && strconv.FormatUint(uint64(v), 10) != s {
			t.Errorf("%q: %d, %v", s, v, err)
		}
	})
}

func TestNormalize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		want := map[edition.Key]edition.Version{}
		u := make(edition.Update, rng.IntN(20))
		for i := range u {
			u[i].UAID[0], u[i].AppID[0], u[i].Version = byte(rng.IntN(3)), byte(rng.IntN(3)), edition.Version(rng.IntN(5))
			want[u[i].Key] = max(want[u[i].Key], u[i].Version)
		}
		u = u.Normalize()
		if len(u) != len(want) {
			t.Fatalf("%d events of %d keys", len(u), len(want))
		}
		for i, e := range u {
			if i > 0 && u[i-1].Key.Compare(e.Key) >= 0 {
				t.Fatalf("not in order: %v", u)
			}
			if e.Version != want[e.Key] {
				t.Fatalf("%v has version %d, want %d", e.Key, e.Version, want[e.Key])
			}
		}
	}
}
