package sms

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/edition-push/edition"
)

// FuzzTarget: whatever a device writes, what is taken is one international
// number under an allowed prefix, and reads back as itself.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		`{"msisdn":"+34 600-111.222"}`, `{"msisdn":"+34(803)111222"}`, `{"msisdn":"0034600111222"}`,
		`{"msisdn":"+34600111222,+34600111223"}`, `{"MSISDN":"+34600111222"}`, `{"msisdn":null}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	c := Config{Prefixes: []string{"+34"}, Deny: []string{"+34803"}}
	number := regexp.MustCompile(`^\+34[0-9]{5,13}$`)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := parse(raw)
		if err != nil {
			if !errors.Is(err, edition.ErrMalformed) || got.MSISDN != "" {
				t.Errorf("%q: %+v, %v", raw, got, err)
			}
			return
		}
		if err := c.allow(got.MSISDN); err != nil {
			if !errors.Is(err, edition.ErrForbidden) {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if !number.MatchString(got.MSISDN) || strings.HasPrefix(got.MSISDN, "+34803") {
			t.Errorf("%q is taken for %q", raw, got.MSISDN)
		}
		stored, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parse(stored); err != nil || again != got {
			t.Errorf("%s reads back as %+v, %v", stored, again, err)
		}
	})
}
