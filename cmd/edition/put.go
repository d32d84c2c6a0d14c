package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/wire"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

func putCommand() *cobra.Command {
	var timeout time.Duration
	var f *messageFlags
	cmd := &cobra.Command{
		Use:   "put ENDPOINT [VERSION]",
		Short: "Send a version or a message to an endpoint, as an app server does",
		Long: `PUTs a version to an endpoint and prints the answer: "stored" when the version
is on the server's disk, "delivered" when the device has acknowledged it.
Without VERSION the server makes one, from the time. With --data a text goes
along, which the server and all relays can read.

With --message it POSTs a message of Web Push instead. Messages are kept beside
each other, each for its --ttl, and one with a --topic takes the place of the one
before. They are encrypted for the app alone: --p256dh and --auth are what the
app's subscription says (in a browser: subscription.toJSON().keys). Without them
it is encrypted for nobody, which is enough to see it arrive.

The command fails when the answer is not 2xx. Repeating a PUT is always safe; a
message that is sent twice arrives twice, unless it has a topic.`,
		Example: `  edition put http://127.0.0.1:8080/v1/e/AbC… 7
  curl -X PUT -d version=7 http://127.0.0.1:8080/v1/e/AbC…    # the same
  edition put http://127.0.0.1:8080/v1/e/AbC… 8 --data hello
  edition put http://127.0.0.1:8080/v1/e/AbC… --message hello --ttl 10m --urgency high --topic greeting`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return fmt.Errorf("%w: ENDPOINT %.80q is not a URL such as http://127.0.0.1:8080%sAbC…", edition.ErrUsage, args[0], wire.PathEndpoint)
			}
			if err := f.check(cmd, args); err != nil {
				return err
			}
			form := url.Values{}
			if len(args) == 2 {
				v, err := edition.ParseVersion(args[1])
				if err != nil {
					return fmt.Errorf("%w: VERSION %.40q is not a decimal integer from 0 to %d", edition.ErrUsage, args[1], edition.MaxVersion)
				}
				form.Set("version", v.String())
			}
			if f.isWithData {
				form.Set("data", f.data)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			var answer string
			if f.isMessage {
				answer, err = f.post(ctx, u.String())
			} else {
				answer, err = put(ctx, u.String(), form.Encode())
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), answer)
			return err
		},
	}
	f = addMessageFlags(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the answer")
	return cmd
}

// put sends one form and returns the answer's text.
func put(ctx context.Context, endpoint, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, endpoint, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := send(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return strings.TrimSpace(string(text)), err
}

// send makes a request. Another answer than 2xx is an error that says what it
// was.
func send(req *http.Request) (*http.Response, error) {
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		// The URL is a capability; the address is enough.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, fmt.Errorf("no answer from %s: %w; is the server running there?", req.URL.Host, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, fmt.Errorf("refused with %d: %w", resp.StatusCode, wire.ReadProblem(resp))
	}
	return resp, nil
}
