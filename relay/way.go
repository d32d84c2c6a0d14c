package relay

import (
	"errors"
	"fmt"
	"slices"

	"github.com/edition-push/edition/wire"
)

// Way returns the ID of this relay's store and those of the stores above it, as
// the upstreams have told when they last connected.
func (r *Relay) Way() []string {
	way := []string{r.store.ID()}
	for _, u := range r.ups {
		if above := u.way.Load(); above != nil {
			for _, id := range *above {
				if !slices.Contains(way, id) {
					way = append(way, id)
				}
			}
		}
	}
	return way
}

var errLoop = errors.New("the upstreams form a loop: this upstream is itself below this relay")

// noteWay takes what is above this relay, unless that is the relay itself or one
// below it.
func (u *upstream) noteWay(way []string) error {
	if len(way) > wire.MaxWay {
		return fmt.Errorf("%d stores above this relay are more than %d", len(way), wire.MaxWay)
	}
	r := u.relay
	for _, id := range way {
		if id == r.store.ID() || r.below != nil && r.below(id) {
			return errLoop
		}
	}
	u.way.Store(&way)
	return nil
}
