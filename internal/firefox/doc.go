// Package firefox runs the Firefox that is installed, unmodified and without a
// window, as a device of Edition, and lets a program use it as a person would:
// open a page, subscribe, close, start again.
//
// It promises that the browser keeps all that it keeps in the folder given,
// reaches nothing but loopback, and has ended when Close returns. It installs
// nothing, and tests nothing by itself: it is for `edition demo --firefox` and
// for the end-to-end tests.
package firefox
