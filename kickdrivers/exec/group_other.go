//go:build !unix

package exec

import osexec "os/exec"

// group does nothing: there are no process groups here, and the program alone
// is killed when its time is over.
func group(*osexec.Cmd) {}
