"""HTTP: the API's routes, the event streams, the process that serves them. The only room that speaks HTTP; floor 7."""
