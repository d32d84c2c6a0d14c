package relay

import "sync"

// fence tells when everything that has come in is dealt with. What comes after
// the question is not waited for. One goroutine asks.
type fence struct {
	mu   sync.Mutex
	open *sync.WaitGroup // Guarded by mu; what has come since the last question
}

func newFence() *fence { return &fence{open: new(sync.WaitGroup)} }

// enter notes that something has come; leave that it is dealt with.
func (f *fence) enter() (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open.Add(1)
	return f.open.Done
}

// wait returns when everything has left that has entered before.
func (f *fence) wait() {
	f.mu.Lock()
	before := f.open
	f.open = new(sync.WaitGroup)
	f.mu.Unlock()
	before.Wait()
}
