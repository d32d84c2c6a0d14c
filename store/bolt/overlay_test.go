package bolt

import (
	"math/rand/v2"
	"testing"

	"github.com/edition-push/edition"
)

// TestOverlayOrder: what was inserted is found, in whatever order it came,
// also where a chunk is halved right at the new key.
func TestOverlayOrder(t *testing.T) {
	key := func(n int) (k edition.Key) {
		k.AppID[0], k.AppID[1] = byte(n>>8), byte(n)
		return k
	}
	orders := map[string][]int{}
	for n := range 4 * chunkSize {
		orders["rising"] = append(orders["rising"], n)
		orders["falling"] = append([]int{n}, orders["falling"]...)
		orders["even, then odd"] = append(orders["even, then odd"], (2*n)%(4*chunkSize)+(2*n)/(4*chunkSize))
	}
	for range 50 {
		orders["random"] = rand.Perm(4 * chunkSize)
		for name, order := range orders {
			var sh shard
			for i, n := range order {
				sh.insert(key(n), row{version: edition.Version(n)})
				for _, m := range order[:i+1] {
					if x, ok := sh.find(key(m)); !ok || x.row().version != edition.Version(m) {
						t.Fatalf("%s: key %d is not found after %d was inserted", name, m, n)
					}
				}
			}
		}
		if testing.Short() {
			break
		}
		delete(orders, "rising")
		delete(orders, "falling")
		delete(orders, "even, then odd")
	}
}
