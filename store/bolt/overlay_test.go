package bolt

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/edition-push/edition"
)

// TestOverlay: what was inserted and not removed is found, and ranged over in
// order, in whatever order it came, also where a chunk is halved right at the
// new key; chunks know what they hold.
func TestOverlay(t *testing.T) {
	const n = 4 * chunkSize
	key := func(i int) (k edition.Key) {
		k.AppID[0], k.AppID[1] = byte(i>>8), byte(i)
		return k
	}
	var rising, falling, evenOdd []int
	for i := range n {
		rising = append(rising, i)
		falling = append(falling, n-1-i)
		evenOdd = append(evenOdd, 2*i%n+2*i/n)
	}
	orders := map[string][]int{"rising": rising, "falling": falling, "even, then odd": evenOdd}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		orders["random "+name] = rand.Perm(n)
	}
	for name, order := range orders {
		var sh shard
		var model []int
		check := func() {
			t.Helper()
			slices.Sort(model)
			var got []int
			due := 0
			for x := range sh.from(edition.Key{}) {
				r := x.row()
				got = append(got, int(r.version))
				if y, ok := sh.find(x.key()); !ok || y != x {
					t.Fatalf("%s: key %d is not found", name, r.version)
				}
				if r.isDue() {
					due++
				}
			}
			if !slices.Equal(got, model) || int(sh.rows.Load()) != len(model) {
				t.Fatalf("%s: %d rows, want %d, or in another order", name, len(got), len(model))
			}
			for _, c := range sh.chunks {
				due -= c.due
			}
			if due != 0 {
				t.Fatalf("%s: chunks miscount by %d", name, due)
			}
		}
		for i, k := range order {
			sh.insert(key(k), row{version: edition.Version(k), flags: isLive | isPending})
			model = append(model, k)
			if _, ok := sh.find(key(k)); !ok {
				t.Fatalf("%s: key %d is not found", name, k)
			}
			if i%37 == 0 {
				check()
			}
		}
		check()
		for i, k := range order {
			switch i % 3 {
			case 0:
				sh.remove(key(k))
				model = slices.DeleteFunc(model, func(m int) bool { return m == k })
			case 1:
				x, _ := sh.find(key(k))
				r := x.row()
				r.set(isHeld)
				x.set(r)
			}
		}
		check()
	}
}
