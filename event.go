package edition

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Version is the state an app server signals: an unsigned integer from 0 to
// [MaxVersion]; the greatest wins.
type Version uint64

// MaxVersion is 2⁶³−1.
const MaxVersion Version = math.MaxInt64

// ParseVersion reads decimal digits without sign, blank, leading zero,
// fraction or exponent. Anything else, and a number over [MaxVersion], is
// [ErrMalformed].
func ParseVersion[T string | []byte](s T) (Version, error) {
	if len(s) == 0 || len(s) > 19 || s[0] == '0' && len(s) > 1 {
		return 0, badVersion(s)
	}
	var v Version
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, badVersion(s)
		}
		v = v*10 + Version(s[i]-'0')
	}
	if v > MaxVersion {
		return 0, badVersion(s)
	}
	return v, nil
}

func badVersion[T string | []byte](s T) error {
	return fmt.Errorf("%w: version %.40q is not a decimal integer from 0 to %d", ErrMalformed, s, uint64(MaxVersion))
}

// UnmarshalJSON is [ParseVersion] on a JSON number: 5.0, 1e3 and "5" are
// refused.
func (v *Version) UnmarshalJSON(b []byte) (err error) { *v, err = ParseVersion(b); return err }

// String returns the decimal digits.
func (v Version) String() string { return strconv.FormatUint(uint64(v), 10) }

// Event says that one app on one device has a new version.
type Event struct {
	Key
	Version Version
}

// Update is a set of events: what goes to a client, and what an ack names. It
// is sorted by [Key.Compare] and names a key once, see [Update.Normalize].
type Update []Event

// Normalize sorts the update and keeps, of several versions of one key, the
// greatest. It works in place and returns the shortened slice.
func (u Update) Normalize() Update {
	slices.SortFunc(u, func(a, b Event) int {
		if c := a.Key.Compare(b.Key); c != 0 {
			return c
		}
		switch {
		case a.Version > b.Version:
			return -1
		case a.Version < b.Version:
			return 1
		}
		return 0
	})
	return slices.CompactFunc(u, func(a, b Event) bool { return a.Key == b.Key })
}
