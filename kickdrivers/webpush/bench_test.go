package webpush_test

import (
	"fmt"
	"testing"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// BenchmarkKick pushes in batches as the dispatcher does, the push service
// included, which decrypts each.
func BenchmarkKick(b *testing.B) {
	r := newRig(b)
	d := r.open(b)
	defer d.Close()
	kicks, errs := make([]driver.Kick, 256), make([]error, 256)
	for i := range kicks {
		kicks[i].Target = check(b, d, raw(b, r.subscribe(b)))
	}
	b.ReportAllocs()
	for sent := 0; sent < b.N; sent += len(kicks) {
		clear(errs)
		d.Kick(b.Context(), kicks, errs)
		for _, err := range errs {
			if err != nil {
				b.Fatal(fmt.Errorf("a kick failed: %w", err))
			}
		}
	}
}
