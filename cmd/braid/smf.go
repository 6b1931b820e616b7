package main

import "context"

type smfCmd struct{}

func (c *smfCmd) Run(_ context.Context) error { return nil }
