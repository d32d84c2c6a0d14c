package publish

import (
	"encoding/binary"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition"
)

func TestRateOfOneEndpoint(t *testing.T) {
	l := newLimiter(2, 3) // a burst of 3, then one each half second
	key, other, now := newKey(), newKey(), time.Now()
	for i := range 3 {
		if err := l.admit(key, now); err != nil {
			t.Fatalf("%d of the burst: %v", i, err)
		}
	}
	err := l.admit(key, now)
	retry, ok := errors.AsType[*edition.RetryError](err)
	if !errors.Is(err, edition.ErrTooMany) || !ok || retry.After != 500*time.Millisecond {
		t.Fatalf("over the burst: %v, %+v", err, retry)
	}
	if err := l.admit(other, now); err != nil {
		t.Errorf("another endpoint: %v", err)
	}
	if err := l.admit(key, now.Add(500*time.Millisecond)); err != nil {
		t.Errorf("at the time that was named: %v", err)
	}
	if err := l.admit(key, now.Add(501*time.Millisecond)); err == nil {
		t.Error("a refusal must not pay for the next")
	}
	for i := range 3 {
		if err := l.admit(key, now.Add(time.Hour)); err != nil {
			t.Errorf("%d of the burst after a rest: %v", i, err)
		}
	}
}

func TestRatesAreBounded(t *testing.T) {
	l := newLimiter(1, 1)
	now := time.Now()
	var key edition.Key
	for i := range 2 * limitShards * limitPerShard {
		binary.BigEndian.PutUint32(key.AppID[:], uint32(i))
		if err := l.admit(key, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range l.shards {
		if n := len(l.shards[i].next); n > limitPerShard {
			t.Fatalf("%d endpoints in a shard", n)
		}
	}
}

func TestPutOverItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Limits{Rate: 0.5, Burst: 1})
		if status, _ := f.put("", "version=1"); status != 202 {
			t.Errorf("first: %d", status)
		}
		resp := f.request(http.MethodPut, "/v1/e/"+f.token, "", "version=2")
		if status, body := statusAndBody(resp); status != 429 || resp.Header.Get("Retry-After") != "2" || len(f.updates) != 1 {
			t.Errorf("second: %d %s, Retry-After %q", status, body, resp.Header.Get("Retry-After"))
		}
		time.Sleep(2 * time.Second)
		if status, _ := f.put("", "version=2"); status != 202 {
			t.Errorf("after Retry-After: %d", status)
		}
	})
}
