package mptcpclient

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestGaps(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	var tr Trace
	for i, ms := range []int{0, 10, 20, 500, 510, 900, 910, 2000} {
		tr = append(tr, Sample{at(ms), int64(i)})
	}
	for _, tc := range []struct {
		since, until, least int
		want                [][2]int
	}{
		{0, 2000, 100, [][2]int{{20, 500}, {510, 900}, {910, 2000}}},
		{0, 2000, 400, [][2]int{{20, 500}, {910, 2000}}},
		{30, 600, 100, [][2]int{{20, 500}, {510, 900}}}, // begins before since, ends after until
		{0, 20, 0, [][2]int{{0, 10}, {10, 20}}},
		{2000, 3000, 0, nil}, // nothing came any more
	} {
		var got [][2]int
		for _, g := range tr.Gaps(at(tc.since), at(tc.until), time.Duration(tc.least)*time.Millisecond) {
			got = append(got, [2]int{int(g.From.Sub(t0).Milliseconds()), int(g.To.Sub(t0).Milliseconds())})
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("Gaps(%d, %d, %d) = %v, want %v", tc.since, tc.until, tc.least, got, tc.want)
		}
	}
	for _, tc := range []struct {
		at   int
		want int64
	}{{-1, 0}, {0, 0}, {10, 1}, {499, 2}, {500, 3}, {9999, 7}} {
		if got := tr.At(at(tc.at)); got != tc.want {
			t.Errorf("At(%d) = %d, want %d", tc.at, got, tc.want)
		}
	}
}

func TestRecordKeepsOnlyChanges(t *testing.T) {
	var n atomic.Int64
	stop, done := make(chan struct{}), make(chan Trace)
	seen := make(chan int64, 1000)
	go func() {
		done <- Record(stop, func() (int64, error) {
			v := n.Load()
			if v == 2 {
				seen <- v
				return 0, errors.New("not now")
			}
			seen <- v
			return v, nil
		})
	}()
	for v := range int64(4) { // the recorder looks at every value at least twice
		n.Store(v)
		for range 2 {
			for <-seen != v {
			}
		}
	}
	close(stop)
	for {
		select {
		case <-seen:
			continue
		case tr := <-done:
			if len(tr) != 3 || tr[0].Bytes != 0 || tr[1].Bytes != 1 || tr[2].Bytes != 3 {
				t.Errorf("trace %v, want values 0 1 3", tr)
			}
			return
		}
	}
}

func TestCheckUE(t *testing.T) {
	read := func(change string) Counters {
		c := Counters{}
		for _, name := range ueZero {
			c[name] = 7
		}
		if change != "" {
			c[change]++
		}
		return c
	}
	if err := CheckUE(read(""), read("")); err != nil {
		t.Errorf("nothing moved: %v", err)
	}
	if err := CheckUE(read(""), read("MPTcpExtMPRstTx")); err == nil || !strings.Contains(err.Error(), "MPTcpExtMPRstTx rose by 1") {
		t.Errorf("MPRstTx moved: %v", err)
	}
	if err := CheckUE(read(""), read("MPTcpExtMPRstTx"), "MPTcpExtMPRstTx"); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if err := CheckUE(read(""), read(""), "MPTcpExtMPRstTX"); err == nil {
		t.Error("a misspelt allowance is no error")
	}
	missing := read("")
	delete(missing, "MPTcpExtNoDSSInWindow")
	if err := CheckUE(missing, read("")); err == nil {
		t.Error("a counter that the kernel lacks is no error")
	}
	if err := CheckServer(Counters{}, Counters{}); err == nil {
		t.Error("no counters at all is no error")
	}
}
