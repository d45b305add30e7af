// An official SDK as a client: Go. The same command line and output as the Python and JS ones.
//
// Usage: a2a-go-client --url BASE --binding jsonrpc|rest|grpc [--question TEXT --expect TEXT]
// [--brief TEXT] [--slow TEXT] [--ask TEXT --answer TEXT --answered TEXT]
// [--brief-url BASE] [--slow-url BASE]
//
// The brief and the slow task may be other agents' than the rest.
//
// Prints one JSON line a step: {"step": ..., "ok": true|false, "detail": ...}; exits 1 if a step
// failed. Every step goes through the SDK: its card resolver, its transports, its types and errors.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	a2agrpc "github.com/a2aproject/a2a-go/v2/a2agrpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const deadline = 60 * time.Second

var bindings = map[string]a2a.TransportProtocol{
	"jsonrpc": a2a.TransportProtocolJSONRPC,
	"rest":    a2a.TransportProtocolHTTPJSON,
	"grpc":    a2a.TransportProtocolGRPC,
}

var (
	url      = flag.String("url", "", "the agent's base URL")
	binding  = flag.String("binding", "jsonrpc", "jsonrpc, rest or grpc")
	question = flag.String("question", "what is 17*23+4", "what the answer must hold --expect to")
	expect   = flag.String("expect", "395", "part of the answer to --question")
	brief    = flag.String("brief", "wait 2 seconds", "a task that runs a moment and completes")
	slow     = flag.String("slow", "wait 60 seconds", "a task to cancel")
	briefURL = flag.String("brief-url", "", "the agent of --brief, if another than --url")
	slowURL  = flag.String("slow-url", "", "the agent of --slow, if another than --url")
	ask      = flag.String("ask", "book a table", "a request that lacks something")
	answer   = flag.String("answer", "4 people", "what it lacks")
	answered = flag.String("answered", "4", "part of the answer to both")
)

func state(value a2a.TaskState) string {
	return strings.TrimPrefix(string(value), "TASK_STATE_")
}

func text(artifact *a2a.Artifact) string {
	var words strings.Builder
	for _, part := range artifact.Parts {
		words.WriteString(part.Text())
	}
	return words.String()
}

func said(task *a2a.Task) string {
	var all []string
	for _, artifact := range task.Artifacts {
		all = append(all, text(artifact))
	}
	return strings.Join(all, " ")
}

func request(words string) *a2a.SendMessageRequest {
	message := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(words))
	return &a2a.SendMessageRequest{Message: message}
}

func atOnce(words string) *a2a.SendMessageRequest {
	asked := request(words)
	asked.Config = &a2a.SendMessageConfig{ReturnImmediately: true}
	return asked
}

// scenario holds the steps; task is the one that the question made.
type scenario struct {
	client *a2aclient.Client
	task   *a2a.Task
}

func (s *scenario) card(ctx context.Context) (string, error) {
	card, client, err := connect(ctx, *url)
	if err != nil {
		return "", err
	}
	s.client = client
	return fmt.Sprintf("%s: %v", card.Name, offered(card)), nil
}

func offered(card *a2a.AgentCard) []string {
	var names []string
	for _, iface := range card.SupportedInterfaces {
		names = append(names, string(iface.ProtocolBinding))
	}
	return names
}

// connect reads the card of an agent and makes a client of it in the binding wanted.
func connect(ctx context.Context, base string) (*a2a.AgentCard, *a2aclient.Client, error) {
	http := &http.Client{Timeout: deadline}
	card, err := agentcard.NewResolver(http).Resolve(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	wanted := bindings[*binding]
	chosen := *card
	chosen.SupportedInterfaces = nil
	for _, iface := range card.SupportedInterfaces {
		if iface.ProtocolBinding == wanted {
			chosen.SupportedInterfaces = append(chosen.SupportedInterfaces, iface)
		}
	}
	client, err := a2aclient.NewFromCard(ctx, &chosen,
		a2aclient.WithJSONRPCTransport(http),
		a2aclient.WithRESTTransport(http),
		a2agrpc.WithGRPCTransport(grpc.WithTransportCredentials(insecure.NewCredentials())),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("%s among %v: %w", wanted, offered(card), err)
	}
	return card, client, nil
}

// one sends without a stream and takes the one answer, which must be a task.
func one(ctx context.Context, client *a2aclient.Client, asked *a2a.SendMessageRequest) (*a2a.Task, error) {
	result, err := client.SendMessage(ctx, asked)
	if err != nil {
		return nil, err
	}
	task, ok := result.(*a2a.Task)
	if !ok {
		return nil, fmt.Errorf("no task but %T", result)
	}
	return task, nil
}

func (s *scenario) send(ctx context.Context) (string, error) {
	task, err := one(ctx, s.client, request(*question))
	if err != nil {
		return "", err
	}
	s.task = task
	if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(said(task), *expect) {
		return "", fmt.Errorf("%s %q", state(task.Status.State), said(task))
	}
	return said(task), nil
}

func (s *scenario) stream(ctx context.Context) (string, error) {
	var seen []string
	var words strings.Builder
	for event, err := range s.client.SendStreamingMessage(ctx, request(*question)) {
		if err != nil {
			return "", fmt.Errorf("after %v: %w", seen, err)
		}
		switch event := event.(type) {
		case *a2a.Task:
			seen = append(seen, state(event.Status.State))
		case *a2a.TaskStatusUpdateEvent:
			seen = append(seen, state(event.Status.State))
		case *a2a.TaskArtifactUpdateEvent:
			seen = append(seen, "artifact")
			words.WriteString(text(event.Artifact))
		}
	}
	working := slices.Index(seen, "WORKING")
	artifact := slices.Index(seen, "artifact")
	completed := slices.Index(seen, "COMPLETED")
	if working < 0 || artifact < working || completed < artifact || completed != len(seen)-1 {
		return "", fmt.Errorf("wrong order: %v", seen)
	}
	if !strings.Contains(words.String(), *expect) {
		return "", fmt.Errorf("%q lacks %q", words.String(), *expect)
	}
	return strings.Join(seen, " "), nil
}

func (s *scenario) get(ctx context.Context) (string, error) {
	task, err := s.client.GetTask(ctx, &a2a.GetTaskRequest{ID: s.task.ID})
	if err != nil {
		return "", err
	}
	if task.ID != s.task.ID || task.ContextID != s.task.ContextID {
		return "", fmt.Errorf("%s in %s", task.ID, task.ContextID)
	}
	if !strings.Contains(said(task), *expect) {
		return "", fmt.Errorf("%q lacks %q", said(task), *expect)
	}
	return string(task.ID), nil
}

func (s *scenario) list(ctx context.Context) (string, error) {
	// The page size is given because over gRPC the SDK sends an unset one as 0, which the
	// specification (1 to 100) lets an agent refuse, and the Python SDK's agents do.
	asked := &a2a.ListTasksRequest{ContextID: s.task.ContextID, PageSize: 50}
	page, err := s.client.ListTasks(ctx, asked)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(page.Tasks, func(task *a2a.Task) bool { return task.ID == s.task.ID }) {
		return "", fmt.Errorf("%d tasks, not among them %s", len(page.Tasks), s.task.ID)
	}
	return fmt.Sprintf("%d in the context", len(page.Tasks)), nil
}

// running starts a task of the agent at base, or else of the main one, and comes back while it is
// not at its end.
func running(ctx context.Context, base, words string) (*a2aclient.Client, *a2a.Task, error) {
	if base == "" {
		base = *url
	}
	_, client, err := connect(ctx, base)
	if err != nil {
		return nil, nil, err
	}
	task, err := one(ctx, client, atOnce(words))
	if err != nil {
		return nil, nil, err
	}
	if task.Status.State.Terminal() {
		return nil, nil, fmt.Errorf("already %s", state(task.Status.State))
	}
	return client, task, nil
}

func (s *scenario) cancel(ctx context.Context) (string, error) {
	client, task, err := running(ctx, *slowURL, *slow)
	if err != nil {
		return "", err
	}
	canceled, err := client.CancelTask(ctx, &a2a.CancelTaskRequest{ID: task.ID})
	if err != nil {
		return "", err
	}
	if canceled.Status.State != a2a.TaskStateCanceled {
		return "", errors.New(state(canceled.Status.State))
	}
	return state(task.Status.State) + " -> CANCELED", nil
}

func (s *scenario) subscribe(ctx context.Context) (string, error) {
	client, task, err := running(ctx, *briefURL, *brief)
	if err != nil {
		return "", err
	}
	var seen []string
	for event, err := range client.SubscribeToTask(ctx, &a2a.SubscribeToTaskRequest{ID: task.ID}) {
		if err != nil {
			return "", fmt.Errorf("after %v: %w", seen, err)
		}
		switch event := event.(type) {
		case *a2a.Task:
			seen = append(seen, "task")
		case *a2a.TaskArtifactUpdateEvent:
			seen = append(seen, "artifact_update")
		case *a2a.TaskStatusUpdateEvent:
			seen = append(seen, "status_update")
			if event.Status.State.Terminal() {
				seen = append(seen, state(event.Status.State))
			}
		}
		if seen[0] != "task" {
			return "", fmt.Errorf("first came %v", seen)
		}
	}
	if len(seen) == 0 || seen[len(seen)-1] != "COMPLETED" {
		return "", fmt.Errorf("ended with %v", seen)
	}
	return strings.Join(seen, " "), nil
}

func (s *scenario) multiTurn(ctx context.Context) (string, error) {
	asked, err := one(ctx, s.client, request(*ask))
	if err != nil {
		return "", err
	}
	if asked.Status.State != a2a.TaskStateInputRequired {
		return "", errors.New(state(asked.Status.State))
	}
	message := a2a.NewMessageForTask(a2a.MessageRoleUser, asked, a2a.NewTextPart(*answer))
	done, err := one(ctx, s.client, &a2a.SendMessageRequest{Message: message})
	if err != nil {
		return "", err
	}
	if done.ID != asked.ID {
		return "", fmt.Errorf("%s is another task than %s", done.ID, asked.ID)
	}
	if done.Status.State != a2a.TaskStateCompleted || !strings.Contains(said(done), *answered) {
		return "", fmt.Errorf("%s %q", state(done.Status.State), said(done))
	}
	return said(done), nil
}

func (s *scenario) unknownTask(ctx context.Context) (string, error) {
	_, err := s.client.GetTask(ctx, &a2a.GetTaskRequest{ID: a2a.NewTaskID()})
	if !errors.Is(err, a2a.ErrTaskNotFound) {
		return "", fmt.Errorf("not ErrTaskNotFound but %w", err)
	}
	return "ErrTaskNotFound: " + err.Error(), nil
}

type step struct {
	name string
	run  func(context.Context) (string, error)
}

// attempt turns every failure, a panic from a step that lacks what an earlier one failed to make
// included, into an error.
func attempt(run func(context.Context) (string, error)) (detail string, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return run(ctx)
}

func main() {
	flag.Parse()
	s := &scenario{}
	steps := []step{
		{"card", s.card}, {"send", s.send}, {"stream", s.stream}, {"get", s.get},
		{"list", s.list}, {"cancel", s.cancel}, {"subscribe", s.subscribe},
		{"multi-turn", s.multiTurn}, {"unknown-task", s.unknownTask},
	}
	failed := false
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, step := range steps {
		detail, err := attempt(step.run)
		if err != nil {
			failed = true
			detail = err.Error()
		}
		line := struct {
			Step   string `json:"step"`
			OK     bool   `json:"ok"`
			Detail string `json:"detail"`
		}{step.name, err == nil, detail}
		if err := out.Encode(line); err != nil {
			os.Exit(2)
		}
	}
	if failed {
		os.Exit(1)
	}
}
