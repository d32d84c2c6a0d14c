package apns

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/edition-push/edition/kickdrivers/apns/apnssim"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// TestProviderToken lives through the hours of a provider's token.
func TestProviderToken(t *testing.T) {
	dir := t.TempDir()
	sim, err := apnssim.Start(apnssim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if err := sim.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p, err := newProviderToken(driver.Secret{File: dir + "/" + apnssim.KeyFile}, apnssim.KeyID, apnssim.TeamID)
		if err != nil {
			t.Fatal(err)
		}
		now := func() string {
			b, err := p.bearer()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		first := now()
		time.Sleep(49 * time.Minute)
		if now() != first {
			t.Error("a token was exchanged before it is 50 minutes old")
		}
		time.Sleep(2 * time.Minute)
		second := now()
		if second == first {
			t.Error("a token was not exchanged after 51 minutes")
		}
		if !p.renew(first) || now() != second {
			t.Error("the token in use was exchanged since an old one was refused")
		}
		if !p.renew(second) || now() == second {
			t.Error("a token that was refused was not exchanged")
		}
		third := now()
		time.Sleep(minTokenAge - time.Second)
		if p.renew(third) || now() != third {
			t.Error("a token was exchanged twice in 20 minutes")
		}
		time.Sleep(2 * time.Second)
		if !p.renew(third) || now() == third {
			t.Error("a token that was refused was not exchanged, 20 minutes after the last")
		}
	})
}
