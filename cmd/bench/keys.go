package bench

import (
	"encoding/binary"

	"github.com/edition-push/edition"
)

// keySpace makes the same n registrations in every process, without keeping
// them: keys rise with i, and are spread evenly.
type keySpace int

// at returns key i, 0 ≤ i < n.
func (n keySpace) at(i int) (k edition.Key) {
	step := uint64(1<<48) / uint64(n)
	a, b, c := mix(uint64(i)), mix(uint64(i)+1<<32), mix(uint64(i)+2<<32)
	binary.BigEndian.PutUint64(k.UAID[:], uint64(i)*step<<16|a&0xffff)
	binary.BigEndian.PutUint64(k.UAID[8:], a)
	binary.BigEndian.PutUint64(k.AppID[:], b)
	binary.BigEndian.PutUint64(k.AppID[8:], c)
	for _, u := range [][]byte{k.UAID[:], k.AppID[:]} { // RFC 9562 §5.4
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
	}
	return k
}

// mix spreads the bits of x (splitmix64, Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
