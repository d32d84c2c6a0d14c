package kicks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/webpush"
)

func vapidCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "vapid FILE",
		Short: "Make a VAPID key pair for driver webpush, or show the public key of one",
		Long: `Writes a new private key into FILE, for its owner alone, and prints the public
key, with which apps subscribe (applicationServerKey). A FILE that is there is
left as it is: its public key is printed.`,
		Example: `  edition kicks vapid /etc/edition/vapid.key`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			public, err := vapidKey(args[0])
			if err != nil {
				return fmt.Errorf("%w: %w", edition.ErrConfig, err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), public)
			return err
		},
	}
}

// vapidKey returns the public key of a file, which it makes when it is absent.
func vapidKey(file string) (public string, err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		private, err := driver.Secret{File: file}.Read()
		if err != nil {
			return "", err
		}
		return webpush.PublicKey(private)
	}
	if err != nil {
		return "", err
	}
	keys, err := webpush.GenerateKeys()
	if err == nil {
		_, err = f.WriteString(keys.Private + "\n")
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file))
	}
	return keys.Public, nil
}
