//go:build race

package publish

// raced: under the race detector a sync.Pool drops what it is given at random.
const raced = true
