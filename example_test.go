package edition_test

import (
	"context"
	"fmt"

	"github.com/edition-push/edition"
)

func ExampleParseVersion() {
	for _, text := range []string{"41", "05", "9223372036854775808"} {
		v, err := edition.ParseVersion(text)
		fmt.Println(v, err)
	}
	// Output:
	// 41 <nil>
	// 0 malformed: version "05" is not a decimal integer from 0 to 9223372036854775807
	// 0 malformed: version "9223372036854775808" is not a decimal integer from 0 to 9223372036854775807
}

// The latest version wins: of several for one key the greatest stays.
func ExampleUpdate_Normalize() {
	var mail, chat edition.Key
	mail.AppID[0], chat.AppID[0] = 2, 1
	u := edition.Update{{Key: mail, Version: 5}, {Key: chat, Version: 9}, {Key: mail, Version: 7}}
	for _, e := range u.Normalize() {
		fmt.Println(e.AppID[0], e.Version)
	}
	// Output:
	// 1 9
	// 2 7
}

// A store resolves the receipt; whoever delivered waits for it.
func ExampleReceipt() {
	r := edition.NewReceipt(1)
	go r.Resolve(0, edition.Result{Outcome: edition.OutcomeStored, Version: 41})
	results, err := r.Wait(context.Background())
	fmt.Println(results[0].Outcome, results[0].Version, err)
	// Output: stored 41 <nil>
}

// Logs show who a device is, not what it takes to be it.
func ExampleUAID_Short() {
	u, _ := edition.ParseUAID("0B3C8E7E-4D2F-4A6B-9C1D-2E5F7A8B9C0D")
	fmt.Println(u)
	fmt.Println(u.Short())
	// Output:
	// 0b3c8e7e-4d2f-4a6b-9c1d-2e5f7a8b9c0d
	// 0b3c8e7e…
}
