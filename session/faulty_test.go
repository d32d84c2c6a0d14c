package session

import (
	"errors"
	"sync/atomic"

	"github.com/edition-push/edition"
)

// faulty is a store that fails where it is told to.
type faulty struct {
	edition.Store
	failing atomic.Pointer[string]
}

var errFaulty = errors.New("a fault of the store")

func (f *faulty) fails(what string) bool {
	p := f.failing.Load()
	return p != nil && *p == what
}

func (f *faulty) Pending(dst edition.Update, owner edition.Owner, uaid edition.UAID) (edition.Update, error) {
	if f.fails("pending") {
		return dst, errFaulty
	}
	return f.Store.Pending(dst, owner, uaid)
}

func (f *faulty) Scan(dst edition.Update, owner edition.Owner, after edition.Key, limit int) (edition.Update, edition.Key, bool, error) {
	if f.fails("scan") {
		return dst, after, false, errFaulty
	}
	return f.Store.Scan(dst, owner, after, limit)
}

func (f *faulty) Sent(owner edition.Owner, u edition.Update) error {
	if f.fails("sent") {
		return errFaulty
	}
	return f.Store.Sent(owner, u)
}
